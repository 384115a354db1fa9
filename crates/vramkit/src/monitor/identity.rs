//! Whose a process is.

use serde::{Deserialize, Serialize};

/// Whose a process is, as the system that runs it says: never what the process says of itself. What is not known, or not
/// readable by this user, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessIdentity {
    /// The user it runs as: a name where there is one, else the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its command line, cleaned and cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The container it runs in: the runtime and the first twelve digits of its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The Kubernetes pod it runs in: `namespace/name` where the kubelet was asked, else the pod's UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The batch job it belongs to: `slurm:1234`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}
