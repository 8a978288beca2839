//! Node: one entry of a directory, in the fields and the order that restic gives them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::gojson;
use crate::id::BlobId;
use crate::tree::quote;

/// What an entry is. Sockets are not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A plain file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Dev,
    /// A character device.
    CharDev,
    /// A named pipe.
    Fifo,
    /// Something that another program stored and we do not restore: a socket, say.
    #[serde(other)]
    Other,
}

/// An extended attribute; an ACL is one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// Its name, as `user.comment`.
    pub name: String,
    /// Its value, any bytes.
    pub value: Vec<u8>,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name within the directory: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Its permissions and type as Go has them: see [`crate::tree::mode`].
    pub mode: u32,
    /// When its content changed.
    pub mtime: Timestamp,
    /// When it was read.
    pub atime: Timestamp,
    /// When its metadata changed.
    pub ctime: Timestamp,
    /// The numeric owner.
    pub uid: u32,
    /// The numeric group.
    pub gid: u32,
    /// The owner's name, or empty.
    pub user: String,
    /// The group's name, or empty.
    pub group: String,
    /// Its number on its file system.
    pub inode: u64,
    /// Its file system; of files with several links only, otherwise zero.
    pub device_id: u64,
    /// The size of its content in bytes.
    pub size: u64,
    /// How many names it has.
    pub links: u64,
    /// Where a symbolic link points: any bytes.
    pub link_target: Vec<u8>,
    /// Its extended attributes, ordered by name.
    pub xattrs: Vec<Xattr>,
    /// The number of a device.
    pub device: u64,
    /// The blobs of a file, in order; `None` for anything but a file.
    pub content: Option<Vec<BlobId>>,
    /// The directory that this entry is.
    pub subtree: Option<BlobId>,
}

impl Node {
    /// An entry with this name, with all three times at `time` and nothing else set.
    pub fn new(name: &[u8], kind: NodeKind, time: Timestamp) -> Self {
        Self {
            name: name.to_vec(),
            kind,
            mode: 0,
            mtime: time,
            atime: time,
            ctime: time,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: Vec::new(),
            xattrs: Vec::new(),
            device: 0,
            content: (kind == NodeKind::File).then(Vec::new),
            subtree: None,
        }
    }

    /// Appends the JSON of the entry.
    pub(super) fn write_json(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        gojson::write(json, self)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NodeJson::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(NodeJson::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The fields of restic, in its order; what it leaves out when empty is left out.
#[derive(Serialize, Deserialize)]
struct NodeJson {
    name: String,
    #[serde(rename = "type")]
    kind: NodeKind,
    #[serde(default, skip_serializing_if = "is_zero")]
    mode: u32,
    #[serde(default = "gojson::zero_time")]
    mtime: Timestamp,
    #[serde(default = "gojson::zero_time")]
    atime: Timestamp,
    #[serde(default = "gojson::zero_time")]
    ctime: Timestamp,
    uid: u32,
    gid: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    inode: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    device_id: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    links: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    linktarget: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    linktarget_raw: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extended_attributes: Vec<XattrJson>,
    #[serde(default, skip_serializing_if = "is_zero")]
    device: u64,
    #[serde(default)]
    content: Option<Vec<BlobId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subtree: Option<BlobId>,
}

#[derive(Serialize, Deserialize)]
struct XattrJson {
    name: String,
    /// Base64; an empty value is `null` or empty.
    value: Option<String>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl From<&Node> for NodeJson {
    fn from(node: &Node) -> Self {
        let linktarget = String::from_utf8_lossy(&node.link_target).into_owned();
        let is_raw = std::str::from_utf8(&node.link_target).is_err();
        let linktarget_raw = if is_raw { BASE64.encode(&node.link_target) } else { String::new() };
        let xattrs = node.xattrs.iter().map(|xattr| XattrJson {
            name: xattr.name.clone(),
            value: Some(BASE64.encode(&xattr.value)),
        });
        Self {
            name: quote::quote(&node.name),
            kind: node.kind,
            mode: node.mode,
            mtime: gojson::fit(node.mtime),
            atime: gojson::fit(node.atime),
            ctime: gojson::fit(node.ctime),
            uid: node.uid,
            gid: node.gid,
            user: node.user.clone(),
            group: node.group.clone(),
            inode: node.inode,
            device_id: node.device_id,
            size: node.size,
            links: node.links,
            linktarget,
            linktarget_raw,
            extended_attributes: xattrs.collect(),
            device: node.device,
            content: node.content.clone(),
            subtree: node.subtree,
        }
    }
}

impl TryFrom<NodeJson> for Node {
    type Error = String;

    fn try_from(json: NodeJson) -> Result<Self, Self::Error> {
        let name = quote::unquote(&json.name)
            .ok_or_else(|| format!("the name `{}` is not quoted as it should be", json.name))?;
        let decode = |text: &str| BASE64.decode(text).map_err(|error| error.to_string());
        let link_target = if json.linktarget_raw.is_empty() {
            json.linktarget.into_bytes()
        } else {
            decode(&json.linktarget_raw)?
        };
        let mut xattrs = Vec::with_capacity(json.extended_attributes.len());
        for xattr in json.extended_attributes {
            let value = decode(xattr.value.as_deref().unwrap_or_default())?;
            xattrs.push(Xattr { name: xattr.name, value });
        }
        let content = (json.kind == NodeKind::File).then(|| json.content.unwrap_or_default());
        Ok(Self {
            name,
            kind: json.kind,
            mode: json.mode,
            mtime: json.mtime,
            atime: json.atime,
            ctime: json.ctime,
            uid: json.uid,
            gid: json.gid,
            user: json.user,
            group: json.group,
            inode: json.inode,
            device_id: json.device_id,
            size: json.size,
            links: json.links,
            link_target,
            xattrs,
            device: json.device,
            content,
            subtree: json.subtree,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(node: &Node) -> String {
        let mut json = Vec::new();
        node.write_json(&mut json).unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn the_golden_file_is_read_and_written_as_restic_does() {
        let golden = concat!(
            r#"{"name":"a\\xff\u0026b","type":"file","mode":420,"#,
            r#""mtime":"2024-05-06T07:08:09.12Z","atime":"2024-05-06T07:08:09Z","#,
            r#""ctime":"2024-05-06T07:08:09.000000001Z","uid":1000,"gid":0,"user":"max","#,
            r#""inode":7,"device_id":65024,"size":3,"links":2,"#,
            r#""extended_attributes":[{"name":"user.x","value":"AP8="}],"#,
            r#""content":["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}"#,
        );

        let node: Node = serde_json::from_str(golden).unwrap();

        assert_eq!(node.name, b"a\xff&b");
        assert_eq!(node.xattrs, [Xattr { name: "user.x".to_owned(), value: vec![0, 255] }]);
        assert_eq!(node.content, Some(vec![BlobId::of(b"abc")]));
        assert_eq!(json(&node), golden);
    }

    #[test]
    fn a_link_to_bytes_that_are_no_text_survives() {
        let mut node = Node::new(b"l", NodeKind::Symlink, Timestamp::UNIX_EPOCH);
        node.link_target = b"/a\xff".to_vec();

        let json = json(&node);

        assert!(json.contains(r#""linktarget":"/a�","linktarget_raw":"L2H/""#), "{json}");
        assert_eq!(serde_json::from_str::<Node>(&json).unwrap(), node);
    }

    #[test]
    fn every_kind_has_the_name_that_restic_gives_it() {
        let kinds = [
            (NodeKind::File, "file"),
            (NodeKind::Dir, "dir"),
            (NodeKind::Symlink, "symlink"),
            (NodeKind::Dev, "dev"),
            (NodeKind::CharDev, "chardev"),
            (NodeKind::Fifo, "fifo"),
        ];

        for (kind, name) in kinds {
            let node = Node::new(b"n", kind, Timestamp::UNIX_EPOCH);
            assert!(json(&node).contains(&format!(r#""type":"{name}""#)));
            assert_eq!(serde_json::from_str::<Node>(&json(&node)).unwrap(), node);
        }
    }

    #[test]
    fn times_of_another_zone_and_sockets_are_read() {
        let json = concat!(
            r#"{"name":"s","type":"socket","mode":16777216,"mtime":"2024-05-06T09:08:09+02:00","#,
            r#""uid":0,"gid":0,"content":null}"#
        );

        let node: Node = serde_json::from_str(json).unwrap();

        assert_eq!(node.kind, NodeKind::Other);
        assert_eq!(node.mtime, "2024-05-06T07:08:09Z".parse::<Timestamp>().unwrap());
    }
}
