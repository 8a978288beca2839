//! Looking: what the Engine has, read and never changed.

use bollard::{
    models::{ContainerInspectResponse, ImageInspect, NetworkInspect, Volume},
    query_parameters::{
        InspectNetworkOptions, ListContainersOptionsBuilder, ListNetworksOptions,
        ListVolumesOptions,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Docker, DockerError, Doing, Noun, wire};

/// Inspections that are asked for at once: the Engine answers each from memory.
const AT_ONCE: usize = 8;

/// What the Engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineVersion {
    /// `28.2.2`.
    pub engine: String,
    /// The API version that was agreed on: `1.50`.
    pub api: String,
    /// As the host calls it: `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
}

impl Docker {
    /// What the Engine is; also the way to ask whether it is there.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn version(&self) -> Result<EngineVersion, DockerError> {
        let doing = Doing::new("ask", Noun::Engine, "");
        let version = self.call(&doing, |docker| async move { docker.version().await }).await?;
        let api = self.client().await?.client_version().to_string();
        Ok(EngineVersion {
            engine: version.version.unwrap_or_default(),
            api,
            architecture: version.arch.unwrap_or_default(),
            os: version.os.unwrap_or_default(),
        })
    }

    /// Every container, running or not, inspected; those that go away meanwhile are left out.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn containers(&self) -> Result<Vec<ContainerInspectResponse>, DockerError> {
        let doing = Doing::new("list", Noun::Container, "");
        let all = ListContainersOptionsBuilder::default().all(true).build();
        let list = self
            .call(&doing, |docker| async move { docker.list_containers(Some(all)).await })
            .await?;
        let ids = list.into_iter().filter_map(|it| it.id);
        stream::iter(ids)
            .map(|id| async move {
                match self.container(&id).await {
                    Ok(seen) => Ok(Some(seen)),
                    Err(error) if error.is_gone() => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(AT_ONCE)
            .try_filter_map(async |seen| Ok(seen))
            .try_collect()
            .await
    }

    /// One container, by name or id.
    ///
    /// # Errors
    ///
    /// [`DockerError::Gone`] when there is none.
    pub async fn container(&self, name: &str) -> Result<ContainerInspectResponse, DockerError> {
        let doing = Doing::new("inspect", Noun::Container, name);
        let name = path_part(&doing, name)?;
        self.call(&doing, |docker| async move { docker.inspect_container(name, None).await }).await
    }

    /// Every volume.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn volumes(&self) -> Result<Vec<Volume>, DockerError> {
        let doing = Doing::new("list", Noun::Volume, "");
        let all = None::<ListVolumesOptions>;
        let list =
            self.call(&doing, |docker| async move { docker.list_volumes(all).await }).await?;
        Ok(list.volumes.unwrap_or_default())
    }

    /// One volume.
    ///
    /// # Errors
    ///
    /// [`DockerError::Gone`] when there is none.
    pub async fn volume(&self, name: &str) -> Result<Volume, DockerError> {
        let doing = Doing::new("inspect", Noun::Volume, name);
        let name = path_part(&doing, name)?;
        self.call(&doing, |docker| async move { docker.inspect_volume(name).await }).await
    }

    /// Every network, inspected; those that go away meanwhile are left out.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn networks(&self) -> Result<Vec<NetworkInspect>, DockerError> {
        let doing = Doing::new("list", Noun::Network, "");
        let all = None::<ListNetworksOptions>;
        let list =
            self.call(&doing, |docker| async move { docker.list_networks(all).await }).await?;
        let mut networks = Vec::new();
        for id in list.into_iter().filter_map(|it| it.id) {
            match self.network(&id).await {
                Ok(network) => networks.push(network),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(networks)
    }

    /// One network, by name or id.
    ///
    /// # Errors
    ///
    /// [`DockerError::Gone`] when there is none.
    pub async fn network(&self, name: &str) -> Result<NetworkInspect, DockerError> {
        let doing = Doing::new("inspect", Noun::Network, name);
        let name = path_part(&doing, name)?;
        let plainly = None::<InspectNetworkOptions>;
        self.call(&doing, |docker| async move { docker.inspect_network(name, plainly).await }).await
    }

    /// One image, by id or reference.
    ///
    /// # Errors
    ///
    /// [`DockerError::Gone`] when there is none.
    pub async fn image(&self, name: &str) -> Result<ImageInspect, DockerError> {
        let doing = Doing::new("inspect", Noun::Image, name);
        let name = path_part(&doing, name)?;
        self.call(&doing, |docker| async move { docker.inspect_image(name).await }).await
    }

    /// The Engine's own inspect document, every field of it, also those this version does not know.
    ///
    /// # Errors
    ///
    /// [`DockerError::Gone`] when there is no such thing.
    pub async fn document(&self, noun: Noun, name: &str) -> Result<serde_json::Value, DockerError> {
        let doing = Doing::new("inspect", noun, name);
        let name = path_part(&doing, name)?;
        let path = match noun {
            Noun::Container => format!("/containers/{name}/json"),
            Noun::Volume => format!("/volumes/{name}"),
            Noun::Network => format!("/networks/{name}"),
            Noun::Image => format!("/images/{name}/json"),
            Noun::Exec => format!("/exec/{name}/json"),
            Noun::Engine => "/version".to_owned(),
        };
        wire::get(self, &doing, &path).await
    }
}

/// `name` when it can stand in a request's path: names come from labels and people.
pub(super) fn path_part<'a>(doing: &Doing, name: &'a str) -> Result<&'a str, DockerError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:/@".contains(c);
    if !name.is_empty() && !name.contains("..") && name.chars().all(fits) {
        return Ok(name);
    }
    Err(DockerError::Gone { doing: doing.clone() })
}
