//! What the kubelet says of the devices of pods: the messages of `v1.PodResourcesLister` (KEP 606), as far as they are read. Fields
//! that are not here are passed over.

use prost::Message;

/// The path of the one call.
pub(crate) const LIST: &str = "/v1.PodResourcesLister/List";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodList {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pods: Vec<Pod>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pod {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) devices: Vec<Devices>,
    /// Devices that were claimed rather than counted.
    #[prost(message, repeated, tag = "5")]
    pub(crate) claims: Vec<Claim>,
}

/// Devices of one kind.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Devices {
    /// `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`, `amd.com/gpu`.
    #[prost(string, tag = "1")]
    pub(crate) resource: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) ids: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Claim {
    #[prost(message, repeated, tag = "4")]
    pub(crate) devices: Vec<Claimed>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Claimed {
    /// `gpu.nvidia.com`.
    #[prost(string, tag = "2")]
    pub(crate) driver: String,
    /// As the driver calls it in the node's list, which only the cluster has: `gpu-0`.
    #[prost(string, tag = "4")]
    pub(crate) device: String,
}
