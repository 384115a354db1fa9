//! What a process's control groups say of who started it: a container, a Kubernetes pod, a batch job. Paths of both versions
//! of control groups, as runtimes write them with and without systemd.
//!
//! Below `user@N.service` a user makes groups and calls them as it likes: no pods and jobs are looked for there, and a container
//! (rootless runtimes keep theirs there) is by that user's word.

/// A group that its user divides, by systemd's name for it.
fn is_users(part: &str) -> bool {
    let user = part.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
    user.is_some_and(|user| !user.is_empty())
}

/// Names of groups on the way to the process, the innermost first, with whether a user gave them.
fn innermost_first(line: &str) -> impl Iterator<Item = (&str, bool)> {
    // Of containerd's old names (`…slice:cri-containerd:ID`) each part counts.
    const BETWEEN: [char; 2] = ['/', ':'];
    let path = line.splitn(3, ':').nth(2).unwrap_or(line);
    let mut of_user = path.split(BETWEEN).filter(|part| is_users(part)).count();
    path.rsplit(BETWEEN).map(move |part| {
        of_user -= usize::from(is_users(part));
        (part, of_user > 0)
    })
}

/// Names that no user gave.
fn given(line: &str) -> impl Iterator<Item = &str> {
    innermost_first(line).filter(|(_, of_user)| !of_user).map(|(part, _)| part)
}

/// The container: a runtime and the first twelve digits of its number.
pub(crate) fn container(groups: &str) -> Option<String> {
    let parts = groups.lines().flat_map(innermost_first);
    parts
        .filter_map(|(part, of_user)| {
            let part = part.strip_suffix(".scope").unwrap_or(part);
            let (runtime, id) = match part.rsplit_once('-') {
                Some((runtime, id)) => (runtime, id),
                // Docker without systemd: `/docker/ID`.
                None => ("container", part),
            };
            let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            let whose = if of_user { " (by its user)" } else { "" };
            is_id.then(|| format!("{runtime}:{}{whose}", &id[..12]))
        })
        .next()
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
