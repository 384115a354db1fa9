//! The word that hands other words over: from the thread that wrote them to any that reads them without its lock.
//!
//! A sequence lock whose word also says what the others are for (Boehm, "Can seqlocks get along with programming
//! language memory models?", MSPC 2012). Who holds the words alone [retires](SeqLock::retire) the word before it writes
//! any of them, and [publishes](SeqLock::publish) it after; who [reads](SeqLock::read) gets all of one use, or nothing.
//! The words themselves are atomic and are read and written relaxed: what orders them is here, and in the
//! [spin-then-park lock](crate::spin_park) by which one holder passes retired words to the next.

use crate::sync::{AtomicU32, Ordering, fence};

/// See the [module](self). Values must not come back for as long as a reader may sleep between two looks.
#[derive(Debug, Default)]
pub(super) struct SeqLock(AtomicU32);

impl SeqLock {
    /// The word as the caller left it, who alone may change it; or as something that may change at any time.
    #[inline(always)]
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// The word, and with it everything written before it was published.
    #[inline(always)]
    pub(super) fn seen(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Hands over what has been written: the last step of a writer.
    #[inline(always)]
    pub(super) fn publish(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }

    /// Ends what readers may rely on: the first step of a writer who holds the words alone already.
    #[inline(always)]
    pub(super) fn retire(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
        // Whoever reads a word written after this sees the new value at its second look.
        fence(Ordering::Release);
    }

    /// As [`retire`](Self::retire), for those of whom one may become the holder: says whether the caller has.
    #[inline(always)]
    pub(super) fn retire_from(&self, expected: u32, value: u32) -> bool {
        let changed = self.0.compare_exchange(expected, value, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // As above. A failed exchange has nothing to hand over, and a fence costs less than a branch.
        fence(Ordering::Release);
        changed
    }

    /// The word, and what `words` reads, when nobody retired it meanwhile.
    #[inline(always)]
    pub(super) fn read<T>(&self, words: impl FnOnce(u32) -> T) -> Option<T> {
        let before = self.0.load(Ordering::Acquire);
        let found = words(before);
        // What was read comes before the second look.
        fence(Ordering::Acquire);
        (self.0.load(Ordering::Relaxed) == before).then_some(found)
    }
}

#[cfg(test)]
#[cfg(loom)]
mod model {
    //! Every interleaving and every order that a weakly ordered processor may show, with words that the checker sees.

    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A writer takes the words from one use to the next, readers look on.
    #[test]
    fn a_reader_sees_words_of_one_use_or_none() {
        loom::model(|| {
            let shared = Arc::new((SeqLock::default(), AtomicU32::new(0), AtomicU32::new(0)));
            shared.0.publish(2);
            let writer = shared.clone();
            let thread = thread::spawn(move || {
                let (word, a, b) = &*writer;
                assert!(word.retire_from(2, 3));
                a.store(1, Ordering::Relaxed);
                b.store(1, Ordering::Relaxed);
                word.publish(4);
                word.retire(5);
                a.store(2, Ordering::Relaxed);
                b.store(2, Ordering::Relaxed);
            });
            let (word, a, b) = &*shared;
            let read = |state: u32| (state, a.load(Ordering::Relaxed), b.load(Ordering::Relaxed));
            if let Some((state, a, b)) = word.read(read)
                && state % 2 == 0
            {
                assert_eq!((a, b), (state / 2 - 1, state / 2 - 1), "words of another use");
            }
            thread.join().unwrap();
        });
    }

    /// One thread retires the words, another one that it passes them to by a lock writes them.
    #[test]
    fn words_that_one_thread_retires_and_another_writes() {
        loom::model(|| {
            let shared =
                Arc::new((SeqLock::default(), AtomicU32::new(7), crate::spin_park::SpinParkLock::new(false)));
            shared.0.publish(1);
            let (first, second) = (shared.clone(), shared.clone());
            let retires = thread::spawn(move || {
                let mut retired = first.2.lock();
                first.0.retire(2);
                *retired = true;
            });
            let writes = thread::spawn(move || {
                let retired = second.2.lock();
                if *retired {
                    second.1.store(99, Ordering::Relaxed);
                }
            });
            let seen = shared.0.read(|state| (state, shared.1.load(Ordering::Relaxed)));
            assert!(seen.is_none_or(|(state, word)| state != 1 || word == 7), "a word of the next use");
            retires.join().unwrap();
            writes.join().unwrap();
        });
    }

    /// Of two who would be the holder, one is, and readers see neither's words before they are handed over.
    #[test]
    fn one_of_two_becomes_the_holder() {
        loom::model(|| {
            let shared = Arc::new((SeqLock::default(), AtomicU32::new(7)));
            shared.0.publish(1);
            let other = shared.clone();
            let take = |shared: &(SeqLock, AtomicU32)| {
                let mine = shared.0.retire_from(1, 2);
                if mine {
                    shared.1.store(99, Ordering::Relaxed);
                }
                mine
            };
            let thread = thread::spawn(move || take(&other));
            let seen = shared.0.read(|state| (state, shared.1.load(Ordering::Relaxed)));
            assert!(seen.is_none_or(|(state, word)| state != 1 || word == 7));
            let mine = take(&shared);
            assert!(mine ^ thread.join().unwrap());
        });
    }
}
