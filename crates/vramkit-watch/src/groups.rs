//! What a process's control groups say of who started it: a container, a Kubernetes pod, a batch job. Paths of both versions
//! of control groups, as runtimes write them with and without systemd.
//!
//! Below a unit of systemd's, a container or a guest, whoever is in it makes groups and calls them as it likes: no pods and jobs
//! are looked for there, and a container (rootless runtimes keep theirs there, and so do containers in containers) is by that
//! one's word. The units of node agents and Slurm give names that count.

/// Units below which the machine's own programs name groups.
const AGENTS: [&str; 9] = [
    "containerd.service",
    "crio.service",
    "docker.service",
    "k3s.service",
    "k3s-agent.service",
    "kubelet.service",
    "rke2-agent.service",
    "rke2-server.service",
    "slurmd.service",
];

/// Whether names below this group are given by whoever is in it.
fn is_others(part: &str) -> bool {
    let is_unit = part.ends_with(".service") || part.ends_with(".scope");
    let is_agents =
        AGENTS.contains(&part) || part == "slurmstepd.scope" || part.ends_with("_slurmstepd.scope");
    let is_guest = part == "lxc" || part.starts_with("lxc.payload");
    is_unit && !is_agents || is_guest || container_id(part).is_some()
}

/// A container's runtime, and its number: `docker-ID.scope`, `ID`.
fn container_id(part: &str) -> Option<(&str, &str)> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    // Docker without systemd: `/docker/ID`.
    let (runtime, id) = part.rsplit_once('-').unwrap_or(("container", part));
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((runtime, id))
}

/// Names of groups on the way to the process, the innermost first, with whether one who is in a group above gave them.
fn innermost_first(line: &str) -> impl Iterator<Item = (&str, bool)> {
    // Of containerd's old names (`…slice:cri-containerd:ID`) each part counts.
    const BETWEEN: [char; 2] = ['/', ':'];
    let path = line.splitn(3, ':').nth(2).unwrap_or(line);
    let mut of_others = path.split(BETWEEN).filter(|part| is_others(part)).count();
    path.rsplit(BETWEEN).map(move |part| {
        of_others -= usize::from(is_others(part));
        (part, of_others > 0)
    })
}

/// Names that count.
fn given(line: &str) -> impl Iterator<Item = &str> {
    innermost_first(line).filter(|(_, of_others)| !of_others).map(|(part, _)| part)
}

/// The container: a runtime and the first twelve digits of its number.
pub(crate) fn container(groups: &str) -> Option<String> {
    groups.lines().flat_map(innermost_first).find_map(|(part, of_others)| {
        let (runtime, id) = container_id(part)?;
        let whose = if of_others { " (by its user)" } else { "" };
        Some(format!("{runtime}:{}{whose}", &id[..12]))
    })
}

/// The pod's UID: `…/kubepods/burstable/podUID/…`, or with systemd `kubepods-burstable-podU_I_D.slice`.
pub(crate) fn pod(groups: &str) -> Option<String> {
    let paths = groups.lines().filter(|line| given(line).any(|part| part.contains("kubepods")));
    let mut parts = paths.flat_map(given);
    parts.find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let uid = part.strip_prefix("pod").or_else(|| Some(part.rsplit_once("-pod")?.1))?;
        // Those that a node's own files describe have a number without dashes.
        let is_uid = matches!(uid.len(), 32 | 36)
            && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_'));
        is_uid.then(|| uid.replace('_', "-"))
    })
}

/// The number of the Slurm job: `…/slurm/uid_1000/job_1234/…`, or `…/slurmstepd.scope/job_1234/…`.
pub(crate) fn slurm_job(groups: &str) -> Option<u64> {
    let paths = groups.lines().filter(|line| given(line).any(|part| part.contains("slurm")));
    let mut parts = paths.flat_map(given);
    parts.find_map(|part| part.strip_prefix("job_")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_by_their_runtime() {
        let id = "0123456789abcdef".repeat(4);
        for (groups, expected) in [
            (format!("0::/system.slice/docker-{id}.scope"), Some("docker:0123456789ab")),
            (format!("4:memory:/docker/{id}\n0::/"), Some("container:0123456789ab")),
            (
                format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
                Some("cri-containerd:0123456789ab"),
            ),
            (
                format!("0::/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{id}.scope"),
                Some("docker:0123456789ab (by its user)"),
            ),
            (
                format!("0::/system.slice/kubepods-pod1.slice:cri-containerd:{id}"),
                Some("container:0123456789ab"),
            ),
            // One in a container is by the word of who is in that.
            (
                format!("0::/system.slice/docker-{id}.scope/docker/{}", "f".repeat(64)),
                Some("container:ffffffffffff (by its user)"),
            ),
            ("0::/user.slice/user-1000.slice".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(container(&groups).as_deref(), expected, "{groups}");
        }
    }

    #[test]
    fn pods_have_their_uid_in_either_form() {
        const UID: &str = "11111111-2222-3333-4444-555555555555";
        let with_systemd = UID.replace('-', "_");
        for (groups, expected) in [
            (format!("11:memory:/kubepods/burstable/pod{UID}/abc\n"), Some(UID)),
            (format!("0::/kubepods/pod{UID}/abc"), Some(UID)),
            (
                format!(
                    "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{with_systemd}.slice/c"
                ),
                Some(UID),
            ),
            (format!("0::/kubepods.slice/kubepods-pod{with_systemd}.slice/c"), Some(UID)),
            (
                "0::/kubepods/podabcdefabcdefabcdefabcdefabcdefabcd/c".into(),
                Some("abcdefabcdefabcdefabcdefabcdefabcd"),
            ),
            ("0::/kubepods.slice/kubepods-podman.slice".into(), None),
            (
                format!(
                    "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{with_systemd}.slice/c"
                ),
                Some(UID),
            ),
            (format!("0::/user.slice/pod{UID}"), None),
            (format!("0::/user.slice/user-7.slice/user@7.service/kubepods-pod{with_systemd}.slice"), None),
        ] {
            let expected = expected.filter(|uid| matches!(uid.len(), 32 | 36));
            assert_eq!(pod(&groups).as_deref(), expected, "{groups}");
        }
    }

    #[test]
    fn who_is_in_a_unit_a_container_or_a_guest_names_no_pods_and_jobs() {
        let (uid, id) = ("11111111-2222-3333-4444-555555555555", "0123456789abcdef".repeat(4));
        for above in [
            "/lxc.payload.101",
            "/lxc/101/ns",
            "/system.slice/web.service",
            "/machine.slice/machine-guest.scope",
            "/machine.slice/systemd-nspawn@guest.service/payload",
            &format!("/machine.slice/libpod-{id}.scope"),
            &format!("/docker/{id}"),
            &format!("/kubepods/pod99999999-2222-3333-4444-555555555555/{id}"),
        ] {
            let of_pod = format!("0::{above}/kubepods/burstable/pod{uid}/{id}");
            assert_ne!(pod(&of_pod).as_deref(), Some(uid), "{of_pod}");
            assert!(container(&of_pod).is_some_and(|name| name.ends_with("(by its user)")), "{of_pod}");
            assert_eq!(slurm_job(&format!("0::{above}/slurm/job_1234/step_0")), None, "{above}");
            assert_eq!(slurm_job(&format!("0::{above}/slurmstepd.scope/job_1234/step_0")), None, "{above}");
        }
        // A node's own agents name groups below their units.
        let old = format!(
            "0::/system.slice/containerd.service/kubepods-burstable-pod{uid}.slice:cri-containerd:{id}"
        );
        assert_eq!(pod(&old).as_deref(), Some(uid));
        assert_eq!(container(&old).as_deref(), Some("container:0123456789ab"));
        assert_eq!(slurm_job("0::/system.slice/slurmd.service/job_5/step_0"), Some(5));
    }

    #[test]
    fn jobs_are_found_in_both_versions() {
        for (groups, expected) in [
            ("8:memory:/slurm/uid_1000/job_1234/step_0/task_0\n1:name=systemd:/", Some(1234)),
            ("0::/system.slice/slurmstepd.scope/job_77/step_batch/user/task_0", Some(77)),
            ("0::/system.slice/node1_slurmstepd.scope/job_5/step_0", Some(5)),
            ("0::/system.slice/job_9/step_0", None),
            ("0::/user.slice/user-7.slice/user@7.service/slurm/job_9", None),
            ("0::/system.slice/slurmstepd.scope/job_5/step_0/user@7.service/job_9", Some(5)),
            ("0::/slurm/job_x", None),
        ] {
            assert_eq!(slurm_job(groups), expected, "{groups}");
        }
    }
}
