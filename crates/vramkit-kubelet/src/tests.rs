//! A kubelet that is not one: what it answers, and how it fails to.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use tokio::net::UnixListener;
use vramkit_watch::{Assignment, Health, Source, Unavailable};

use crate::KubeletSource;
use crate::call::{CallError, call};
use crate::messages::{Claim, Claimed, ClaimedPart, Container, Devices, LIST, Pod, PodList};

/// What is sent after the request: headers, data, trailers.
#[derive(Clone, Default)]
struct Answer {
    headers: HeaderMap,
    data: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

fn status(code: &str, words: &str) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).unwrap();
    [("grpc-status", value(code)), ("grpc-message", value(words))]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value))
        .collect()
}

fn message(bytes: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(bytes.len()).unwrap());
    framed.put_slice(bytes);
    framed.freeze()
}

fn good(list: &PodList) -> Answer {
    Answer {
        data: vec![message(&list.encode_to_vec())],
        trailers: Some(status("0", "")),
        ..Answer::default()
    }
}

/// Listens until the test ends; the folder goes with it.
fn kubelet(answer: Answer) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubelet.sock");
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let answer = answer.clone();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.uri().path(), LIST);
                    let mut response = Response::new(());
                    *response.headers_mut() = answer.headers.clone();
                    let is_end = answer.data.is_empty() && answer.trailers.is_none();
                    let mut stream = respond.send_response(response, is_end).unwrap();
                    for data in &answer.data {
                        stream.send_data(data.clone(), false).unwrap();
                    }
                    if let Some(trailers) = answer.trailers.clone() {
                        stream.send_trailers(trailers).unwrap();
                    } else if !answer.data.is_empty() {
                        stream.send_data(Bytes::new(), true).unwrap();
                    }
                }
            }
        });
    });
    folder
}

fn source(folder: &tempfile::TempDir) -> KubeletSource {
    KubeletSource::at(&folder.path().join("kubelet.sock"))
}

fn container(name: &str, resource: &str, ids: &[&str]) -> Container {
    let devices = Devices { resource: resource.into(), ids: ids.iter().map(|id| (*id).into()).collect() };
    Container { name: name.into(), devices: vec![devices], claims: Vec::new() }
}

fn pod(name: &str, containers: Vec<Container>) -> Pod {
    Pod { name: name.into(), namespace: "ml".into(), containers }
}

#[test]
fn cards_parts_and_copies_are_assigned_by_their_identity() {
    let mut claims = container("main", "example.com/nic", &["nic-0"]);
    let claimed = Claimed { driver: "gpu.nvidia.com".into(), parts: Vec::new() };
    // Older kubelets say what it comes with alone.
    let part = ClaimedPart { name: "k8s.gpu.nvidia.com/claim=a-gpu-1".into() };
    let older = Claimed { driver: Vec::new(), parts: vec![part] };
    claims.claims = vec![Claim { devices: vec![claimed, older] }];
    let list = PodList {
        pods: vec![
            pod("train-0", vec![container("main", "nvidia.com/gpu", &["GPU-1", "GPU-2"])]),
            pod("shared\u{1b}[2J", vec![container("a", "nvidia.com/gpu.shared", &["GPU-3::7", "GPU-3::1"])]),
            pod("part-0", vec![container("main", "nvidia.com/mig-1g.10gb", &["MIG-9"])]),
            pod("amd-0", vec![container("main", "amd.com/gpu", &["0000:c1:00.0"])]),
            pod("other", vec![container("main", "nvidia.com/gpu", &["nvidia0", "card1"])]),
            pod("claims", vec![claims]),
            Pod { name: vec![0xff], ..pod("", Vec::new()) },
        ],
    };
    let folder = kubelet(good(&list));
    let mut source = source(&folder);
    let readings = source.read();
    let one = |device: &str, pod: &str, container: &str| Assignment {
        device: device.into(),
        pod: pod.into(),
        container: container.into(),
    };
    let expected = [
        one("0000:c1:00.0", "ml/amd-0", "main"),
        one("GPU-1", "ml/train-0", "main"),
        one("GPU-2", "ml/train-0", "main"),
        one("GPU-3", "ml/shared [2J", "a"),
        one("MIG-9", "ml/part-0", "main"),
    ];
    assert_eq!((readings.health, readings.assigned.as_slice()), (Health::Up, expected.as_slice()));
    let reasons = |unavailable: &[Unavailable]| {
        unavailable.iter().map(|one| one.reason.clone()).collect::<Vec<_>>().join("; ")
    };
    let words = reasons(&readings.unavailable);
    assert!(words.contains("2 assigned devices have names"), "{words}");
    assert!(words.contains("2 devices are given by claims"), "{words}");
    // Within some seconds it is not asked again.
    drop(folder);
    assert_eq!(source.read().assigned.len(), 5);
}

#[test]
fn a_large_list_is_read_whole_and_an_endless_one_is_not() {
    let pods =
        (0..20_000).map(|n| pod(&format!("p-{n}"), vec![container("c", "nvidia.com/gpu", &["GPU-1"])]));
    let list = PodList { pods: pods.collect() };
    let bytes = list.encode_to_vec();
    assert!(bytes.len() > 500_000, "more than the window of a stream");
    let readings = source(&kubelet(good(&list))).read();
    assert_eq!(readings.health, Health::Up);
    assert!(readings.unavailable[0].reason.contains("more than 12288"), "{:?}", readings.unavailable);
    let endless = Answer { data: vec![Bytes::from(vec![0; 1 << 20]); 17], ..Answer::default() };
    let readings = source(&kubelet(endless)).read();
    assert!(readings.unavailable[0].reason.contains("more than 4194304 bytes"), "{readings:?}");
}

#[test]
fn what_it_does_wrong_is_a_state_with_a_reason() {
    let refusal = Answer { headers: status("12", "unknown service"), ..Answer::default() };
    let silent = Answer { data: vec![message(b"")], ..Answer::default() };
    let short =
        Answer { data: vec![Bytes::from_static(b"abc")], trailers: Some(status("0", "")), ..silent.clone() };
    let lies = Answer { data: vec![Bytes::from_static(&[0, 255, 255, 255, 255, 1])], ..short.clone() };
    let squeezed = Answer { data: vec![Bytes::from_static(&[1, 0, 0, 0, 0])], ..short.clone() };
    let nonsense = Answer { data: vec![message(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])], ..short.clone() };
    for (answer, words) in [
        (refusal, "gRPC status 12: unknown service"),
        (silent, "without saying how it went"),
        (short, "there is no message"),
        (lies, "a message's length is not what it says"),
        (squeezed, "compressed"),
        (nonsense, "no list of pods' resources"),
    ] {
        let readings = source(&kubelet(answer)).read();
        let reason = &readings.unavailable[0].reason;
        assert!(readings.health == Health::Failing && reason.contains(words), "{reason}: {words}");
    }
}

#[test]
fn one_that_is_silent_down_or_of_root_alone_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubelet.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let late = runtime.block_on(call(&path, LIST, Duration::from_millis(50)));
    assert!(matches!(late, Err(CallError::Late(_))), "{late:?}");
    drop(listener);
    let readings = source(&folder).read();
    assert_eq!(readings.health, Health::Failing, "its socket is there, and nobody listens");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root may do everything.
    let is_refused = std::os::unix::net::UnixStream::connect(&path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    if is_refused {
        let readings = source(&folder).read();
        assert_eq!(readings.health, Health::Absent);
        assert!(readings.unavailable[0].reason.contains("root's alone"), "{readings:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let readings = source(&folder).read();
    assert!(readings.health == Health::Absent && readings.unavailable[0].reason.contains("no kubelet"));
    // Without its folder there is no kubelet, and later there may be one.
    let mut nobody = KubeletSource::at(&folder.path().join("later/kubelet.sock"));
    let readings = nobody.read();
    assert!(readings.health == Health::Absent && readings.unavailable.is_empty());
}
