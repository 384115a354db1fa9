//! Whose turn is it, and what may still be read of whom? Shares are by user, so that whatever one user's processes do costs
//! that user's figures, and nobody else's: this user's own sockets come first, then those of others in turn.

use std::collections::VecDeque;

use super::parse::Allowance;
use super::sockets::SocketFile;

/// Most sockets of a user that are asked in a look, and at once.
pub(super) const MOST: usize = 256;
const AT_ONCE: usize = 64;
/// Most bytes of a document.
pub(super) const LARGEST: usize = 8 << 20;
/// Documents larger than this are read one after the other: of a user one at a time, and of other users two.
const SMALL: usize = 64 << 10;
const LARGE_OF_OTHERS: usize = 2;
/// Most bytes of all that one user's processes say in a look: this user's own, another's, and all others' together.
const OWN: usize = 64 << 20;
const OTHER: usize = 16 << 20;
const OTHERS: usize = 64 << 20;

/// One user's sockets, and what of the shares has been used.
#[derive(Debug)]
pub(super) struct User {
    pub(super) uid: u32,
    is_own: bool,
    waiting: VecDeque<SocketFile>,
    asked: usize,
    active: usize,
    bytes: usize,
    reads_large: bool,
    pub(super) allowance: Allowance,
}

/// All users with sockets.
#[derive(Debug)]
pub(super) struct Users {
    all: Vec<User>,
    turn: usize,
    others_bytes: usize,
    others_large: usize,
}

/// Whether more may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Free,
    /// When another one has been read.
    Later,
    /// Not in this look: the user's share, or that of all others, is used up.
    None,
}

impl Users {
    /// Lines sockets up by whose they are.
    pub(super) fn new(own: u32, sockets: impl IntoIterator<Item = SocketFile>) -> Self {
        let mut users = Self { all: Vec::new(), turn: 0, others_bytes: 0, others_large: 0 };
        for socket in sockets {
            let at = users.all.iter().position(|user| user.uid == socket.uid).unwrap_or_else(|| {
                users.all.push(User::new(socket.uid, socket.uid == own));
                users.all.len() - 1
            });
            users.all[at].waiting.push_back(socket);
        }
        users
    }

    /// The next one to ask, with its user's place.
    pub(super) fn next(&mut self) -> Option<(usize, SocketFile)> {
        let (count, turn) = (self.all.len(), self.turn);
        let own = self.all.iter().position(|user| user.is_own && self.may_ask(user));
        let place = own.or_else(|| {
            (turn..turn + count).map(|place| place % count).find(|&place| self.may_ask(&self.all[place]))
        })?;
        if own.is_none() {
            self.turn = place + 1;
        }
        Some((place, self.all[place].waiting.pop_front()?))
    }

    fn may_ask(&self, user: &User) -> bool {
        let has_share = user.bytes < user.share() && (user.is_own || self.others_bytes < OTHERS);
        !user.waiting.is_empty() && user.asked < MOST && user.active < AT_ONCE && has_share
    }

    /// Somebody listens there, and is being asked.
    pub(super) fn begin(&mut self, place: usize) {
        self.all[place].asked += 1;
        self.all[place].active += 1;
    }

    /// That is over; `large`: it had been let to be [large](Self::room).
    pub(super) fn end(&mut self, place: usize, large: bool) {
        let user = &mut self.all[place];
        user.active -= 1;
        if large {
            user.reads_large = false;
            self.others_large -= usize::from(!user.is_own);
        }
    }

    /// Whether one that has said so many bytes may say more. `large`: whether it is let to be larger than most are, until its end.
    pub(super) fn room(&mut self, place: usize, said: usize, large: &mut bool) -> Room {
        let user = &mut self.all[place];
        let is_used_up = user.bytes >= user.share() || (!user.is_own && self.others_bytes >= OTHERS);
        if is_used_up {
            return Room::None;
        }
        if said > SMALL && !*large {
            let others_are = !user.is_own && self.others_large >= LARGE_OF_OTHERS;
            if user.reads_large || others_are {
                return Room::Later;
            }
            (*large, user.reads_large) = (true, true);
            self.others_large += usize::from(!user.is_own);
        }
        Room::Free
    }

    /// So many bytes were read.
    pub(super) fn take(&mut self, place: usize, bytes: usize) {
        let user = &mut self.all[place];
        user.bytes += bytes;
        if !user.is_own {
            self.others_bytes += bytes;
        }
    }

    pub(super) fn user(&mut self, place: usize) -> &mut User {
        &mut self.all[place]
    }

    /// Sockets that were not asked, each with whether its user has had all that is asked of one, and whether the share was
    /// used up.
    pub(super) fn left(self) -> impl Iterator<Item = (SocketFile, bool, bool)> {
        let others_are = self.others_bytes >= OTHERS;
        self.all.into_iter().flat_map(move |user| {
            let had_all = user.asked >= MOST;
            let used_up = user.bytes >= user.share() || (!user.is_own && others_are);
            user.waiting.into_iter().map(move |socket| (socket, had_all, used_up))
        })
    }
}

impl User {
    fn new(uid: u32, is_own: bool) -> Self {
        let entries = if is_own { 1 << 16 } else { 1 << 14 };
        let allowance = Allowance { pools: if is_own { 1024 } else { 256 }, entries };
        let waiting = VecDeque::new();
        Self { uid, is_own, waiting, asked: 0, active: 0, bytes: 0, reads_large: false, allowance }
    }

    fn share(&self) -> usize {
        if self.is_own { OWN } else { OTHER }
    }
}
