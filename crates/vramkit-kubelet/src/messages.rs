//! What the kubelet says of the devices of pods: the messages of `v1.PodResourcesLister` (KEP 606), as far as they are read. Fields
//! that are not here are passed over. Texts are bytes here: one that is not text is no reason to know nothing of the others.

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
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) namespace: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Container {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) name: Vec<u8>,
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
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) resource: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) ids: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Claim {
    #[prost(message, repeated, tag = "4")]
    pub(crate) devices: Vec<Claimed>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Claimed {
    /// `gpu.nvidia.com`.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) driver: Vec<u8>,
    /// The files and devices that it comes with: `k8s.gpu.nvidia.com/claim=…`.
    #[prost(message, repeated, tag = "1")]
    pub(crate) parts: Vec<ClaimedPart>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClaimedPart {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) name: Vec<u8>,
}
