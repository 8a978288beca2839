//! Trees: made by chance with everything that a file system can hold, and described by the tools
//! of the system, not by what is tested.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{Seek as _, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::Path,
    process::Command,
};

/// Runs a script in `dir` and gives its output; it must succeed.
pub(crate) fn sh(dir: &Path, script: &str) -> Vec<u8> {
    let mut bash = Command::new("bash");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(script.as_bytes()).unwrap();
    file.rewind().unwrap();
    bash.args(["-euo", "pipefail", "/dev/fd/0"]).stdin(file);
    let output = bash.current_dir(dir).env("LC_ALL", "C").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    output.stdout
}

/// Everything about a tree, by `find`, `stat`, `getfattr` and `sha256sum`.
pub(crate) fn described(dir: &Path) -> String {
    let mut all = Vec::new();
    for script in [
        "find . ! -type s -printf '%p %y %m %U %G %T@ %l\\n' | sort",
        "find . -type f -printf '%p %s\\n' | sort",
        "find . \\( -type b -o -type c \\) -print0 | sort -z | xargs -0 -r stat -c '%n %t %T'",
        "find . ! -type s -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex",
        "find . -type f -print0 | sort -z | xargs -0 -r sha256sum",
    ] {
        all.extend(sh(dir, script));
        all.push(b'\n');
    }
    let links = sh(dir, "find . -type f -links +1 -printf '%i %p\\n'");
    let mut groups = BTreeMap::<String, Vec<String>>::new();
    for line in links.escape_ascii().to_string().split("\\n").filter(|line| !line.is_empty()) {
        let (inode, path) = line.split_once(' ').unwrap();
        groups.entry(inode.to_owned()).or_default().push(path.to_owned());
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        group.sort();
    }
    groups.sort();
    all.extend(format!("{groups:?}").into_bytes());
    all.escape_ascii().to_string().replace("\\n", "\n")
}

/// Makes a tree of about `count` entries in `dir`, by chance.
pub(crate) fn grow(dir: &Path, seed: u64, count: usize) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut dirs = vec![dir.to_path_buf()];
    let mut files = Vec::new();
    // What is left to the tools of the system, all at once.
    let mut script = Vec::new();
    for number in 0..count {
        let parent = dirs[chance.usize(..dirs.len())].clone();
        let path = parent.join(OsStr::from_bytes(&name(&mut chance, number)));
        match chance.u8(..20) {
            0..4 => {
                fs::create_dir(&path).unwrap();
                dirs.push(path.clone());
            }
            4 => std::os::unix::fs::symlink(OsStr::from_bytes(b"../x/\xff"), &path).unwrap(),
            5 => script.push(format!("mkfifo {}", quoted(&path))),
            6 => script.push(format!("mknod {} c 1 {}", quoted(&path), number % 200)),
            7 => script.push(format!("mknod {} b 259 {number}", quoted(&path))),
            8 if !files.is_empty() => {
                let first: &std::path::PathBuf = &files[chance.usize(..files.len())];
                fs::hard_link(first, &path).unwrap();
            }
            9 => sparse(&path, &mut chance),
            _ => {
                let size = [0, 1, 100, 5000, 70_000, 700_000, 3_000_000][chance.usize(..7)];
                let mut content = vec![0; size];
                chance.fill(&mut content);
                fs::write(&path, content).unwrap();
                files.push(path.clone());
            }
        }
        script.extend(decorate(&path, &mut chance));
    }
    // Directories changed when entries were made in them: their times come last, inner ones first.
    for (index, dir) in dirs.iter().enumerate().rev() {
        let time = 1_000_000_000 + index;
        script.push(format!("touch -d @{time}.123456789 {}", quoted(dir)));
    }
    sh(dir, &script.join("\n"));
}

fn name(chance: &mut fastrand::Rng, number: usize) -> Vec<u8> {
    let mut name = match chance.u8(..6) {
        0 => b"\xff\xfe not text".to_vec(),
        1 => "größe 日本\u{301}".as_bytes().to_vec(),
        2 => b"new\nline \"quoted\" \\ $(x)".to_vec(),
        3 => vec![b'n'; 200],
        _ => b"plain".to_vec(),
    };
    name.extend(format!("-{number}").into_bytes());
    name
}

fn quoted(path: &Path) -> String {
    let escaped = path.as_os_str().as_bytes().iter().map(|byte| format!("\\x{byte:02x}"));
    format!("$'{}'", escaped.collect::<String>())
}

fn sparse(path: &Path, chance: &mut fastrand::Rng) {
    let file = File::create(path).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(b"middle", chance.u64(20 << 20..60 << 20)).unwrap();
    file.set_len(chance.u64(61 << 20..90 << 20)).unwrap();
}

/// Owner, permissions, attributes, ACL and time.
fn decorate(path: &Path, chance: &mut fastrand::Rng) -> Vec<String> {
    let quoted = quoted(path);
    let meta = fs::symlink_metadata(path).ok(); // a pipe or device is still to be made
    let is = |kind: fn(&fs::Metadata) -> bool| meta.as_ref().is_some_and(kind);
    let (is_link, is_dir, is_file) =
        (is(fs::Metadata::is_symlink), is(fs::Metadata::is_dir), is(fs::Metadata::is_file));
    let (uid, gid) = (chance.u32(..5) * 1000, chance.u32(..3) * 33);
    let mut script = vec![format!("chown -h {uid}:{gid} {quoted}")];
    if !is_link {
        let mode = [0o644, 0o600, 0o4755, 0o2750, 0o1777, 0o000, 0o400][chance.usize(..7)];
        script.push(format!("chmod {mode:o} {quoted}"));
        if chance.u8(..4) == 0 {
            script.push(format!("setfacl -m u:1234:rw,g:55:r {quoted}"));
        }
    }
    if is_dir && chance.u8(..3) == 0 {
        script.push(format!("setfacl -d -m u:77:rwx {quoted}"));
    }
    if (is_file || is_dir) && chance.u8(..3) == 0 {
        script.push(format!("setfattr -n user.note -v 0x00ff80 {quoted}"));
        script.push(format!("setfattr -n trusted.secret -v seen {quoted}"));
    }
    if is_file && chance.u8(..4) == 0 {
        let capability = "0x0100000200040000000000000000000000000000";
        script.push(format!("setfattr -n security.capability -v {capability} {quoted}"));
    }
    let seconds = chance.i64(-1_000_000..2_000_000_000);
    script.push(format!("touch -h -d @{seconds}.{:09} {quoted}", chance.u32(..1_000_000_000)));
    script
}
