use std::net::IpAddr;

use super::*;

/// A server's connections, each with a task that lasts until it is closed.
struct Server {
    connections: Connections,
    places: Vec<(Place, tokio::task::JoinHandle<()>)>,
}

impl Server {
    fn new(most: usize) -> Self {
        Self { connections: Connections::new(most, most), places: Vec::new() }
    }

    /// As `accept` does; none if there is no place to be had.
    fn connect(&mut self, peer: &str) -> Option<usize> {
        if self.connections.is_full() && !self.connections.make_room() {
            return None;
        }
        self.connections.add(peer.parse::<IpAddr>().unwrap(), |place| {
            let task = tokio::spawn(std::future::pending());
            let handle = task.abort_handle();
            self.places.push((place, task));
            handle
        });
        Some(self.places.len() - 1)
    }

    fn place(&self, at: usize) -> &Place {
        &self.places[at].0
    }

    fn is_there(&self, at: usize) -> bool {
        self.connections.table().connections.contains_key(&self.place(at).id)
    }

    fn is_older_by(&self, at: usize, age: Duration) {
        self.place(at).with(|connection| connection.since -= age);
    }
}

#[tokio::test]
async fn the_longest_that_has_asked_nothing_goes_first() {
    let mut server = Server::new(4);
    let answered = server.connect("10.0.0.1").unwrap();
    server.place(answered).is_asked();
    let idle = server.connect("10.0.0.2").unwrap();
    server.place(idle).is_answered();
    let [older, newer] = [server.connect("10.0.0.3").unwrap(), server.connect("10.0.0.4").unwrap()];
    for (peer, goes) in [("10.0.0.5", older), ("10.0.0.6", newer)] {
        let newcomer = server.connect(peer).unwrap();
        server.place(newcomer).is_asked();
        assert!(!server.is_there(goes) && server.is_there(idle) && server.is_there(answered));
    }
    assert!(server.connect("10.0.0.7").is_some() && !server.is_there(idle));
    assert!(server.is_there(answered));
}

#[tokio::test]
async fn what_is_answered_at_once_stays_and_a_slow_reader_goes() {
    let mut server = Server::new(2);
    for _ in 0..2 {
        let at = server.connect("10.0.0.1").unwrap();
        server.place(at).is_asked();
    }
    assert_eq!(server.connect("10.0.0.2"), None);
    server.is_older_by(1, Duration::from_secs(2));
    assert!(server.connect("10.0.0.2").is_some());
    assert!(server.is_there(0) && !server.is_there(1));
}

#[tokio::test]
async fn no_address_keeps_more_than_its_share_while_others_want_some() {
    let mut server = Server::new(8);
    let modest = server.connect("10.0.0.1").unwrap();
    // One machine, many addresses of its network.
    let greedy: Vec<usize> = (0..7).map(|at| server.connect(&format!("2001:db8::{at}")).unwrap()).collect();
    greedy.iter().for_each(|at| server.place(*at).is_answered());
    server.is_older_by(modest, Duration::from_secs(5));
    for peer in 2..7 {
        server.connect(&format!("10.0.0.{peer}")).unwrap();
        assert!(server.is_there(modest), "{peer}");
    }
    assert_eq!(greedy.iter().filter(|at| server.is_there(**at)).count(), 2);
}

#[tokio::test]
async fn whoever_has_shown_the_token_goes_last() {
    let mut server = Server::new(2);
    let known = server.connect("10.0.0.1").unwrap();
    server.place(known).is_asked();
    server.place(known).is_trusted();
    server.place(known).is_answered();
    server.is_older_by(known, Duration::from_secs(60));
    for _ in 0..10 {
        server.connect("10.0.0.2").unwrap();
        assert!(server.is_there(known));
    }
}

#[tokio::test]
async fn each_thing_lasts_so_long_and_no_longer() {
    let mut server = Server::new(8);
    for (seconds, enter) in [(10, 0), (30, 1), (75, 2), (10, 3)] {
        let at = server.connect("10.0.0.1").unwrap();
        let place = server.place(at);
        match enter {
            0 => {}
            1 => place.is_asked(),
            2 => place.is_answered(),
            _ => {
                assert!(place.follow());
                place.is_handed();
            }
        }
        server.is_older_by(at, Duration::from_secs(seconds - 2));
        server.connections.close_overdue();
        assert!(server.is_there(at), "{seconds}");
        server.is_older_by(at, Duration::from_secs(3));
        server.connections.close_overdue();
        assert!(!server.is_there(at), "{seconds}");
    }
    let follower = server.connect("10.0.0.1").unwrap();
    assert!(server.place(follower).follow());
    server.is_older_by(follower, Duration::from_secs(3600));
    server.connections.close_overdue();
    assert!(server.is_there(follower));
}

#[tokio::test]
async fn followers_are_bounded_and_one_that_does_not_read_makes_room() {
    let mut server = Server::new(8);
    for _ in 0..4 {
        let at = server.connect("10.0.0.1").unwrap();
        assert!(server.place(at).follow());
    }
    let fifth = server.connect("10.0.0.1").unwrap();
    assert!(!server.place(fifth).follow());
    server.place(2).is_handed();
    assert!(!server.place(fifth).follow());
    server.is_older_by(2, Duration::from_secs(2));
    assert!(server.place(fifth).follow() && !server.is_there(2));
    // Another address gets a part of what one has all of.
    let other = server.connect("10.0.0.2").unwrap();
    assert!(server.place(other).follow());
    server.connections.close_overdue();
    assert_eq!((0..5).filter(|at| server.is_there(*at)).count(), 3);
}

#[tokio::test]
async fn whoever_waits_for_a_place_gets_that_of_a_slow_reader() {
    let mut server = Server { connections: Connections::new(8, 1), places: Vec::new() };
    let [slow, waiting] = [server.connect("10.0.0.1").unwrap(), server.connect("10.0.0.2").unwrap()];
    let permit = server.place(slow).turn().await;
    assert!(permit.is_some());
    server.place(slow).is_asked();
    let place = server.place(waiting).clone();
    let turn = tokio::spawn(async move { place.turn().await.is_some() });
    tokio::task::yield_now().await;
    server.connections.close_overdue();
    assert!(server.is_there(slow) && !turn.is_finished());
    server.is_older_by(slow, Duration::from_secs(2));
    server.connections.close_overdue();
    assert!(!server.is_there(slow));
    drop(permit); // as its task does when it is closed
    assert!(turn.await.unwrap());
}
