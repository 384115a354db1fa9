//! Memory of a step, cut into slices: activations by name, and parts that threads write side by side.
//!
//! In: the arena as one slice, and where the planner has placed each activation. Out: slices. Those of activations that live at the
//! same time lie apart (`Buffers::are_sound`), which is what makes several of them at once sound.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::step::{Activation, Buffers};

/// The arena of a step that runs.
pub(crate) struct Arena<'a> {
    base: *mut u8,
    len: usize,
    buffers: &'a Buffers,
    held: PhantomData<&'a mut [u8]>,
}

// SAFETY: it is a slice that is borrowed for `'a`; whoever takes a part of it promises to be alone with it.
unsafe impl Sync for Arena<'_> {}

impl<'a> Arena<'a> {
    pub fn new(memory: &'a mut [u8], buffers: &'a Buffers) -> Self {
        Self { base: memory.as_mut_ptr(), len: memory.len(), buffers, held: PhantomData }
    }

    /// The bytes of an activation.
    ///
    /// # Safety
    ///
    /// As long as it is there, no other slice of this activation is there, nor one of an activation that does not live when this one does.
    #[allow(clippy::mut_from_ref)] // that it is the caller's alone is the contract
    pub unsafe fn bytes(&self, of: Activation) -> &mut [u8] {
        let place = self.buffers.place(of);
        assert!(place.end <= self.len, "a plan that was checked");
        // SAFETY: the place lies in the arena, which is this type's for `'a`. Those that live at the same time lie apart, and
        // of the others there is no slice, by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(place.start), place.len()) }
    }

    /// The first `len` numbers of an activation.
    ///
    /// # Safety
    ///
    /// As for [`bytes`](Self::bytes).
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn floats(&self, of: Activation, len: usize) -> &mut [f32] {
        // SAFETY: as in this function's contract.
        let bytes = unsafe { self.bytes(of) };
        let floats: &mut [f32] = bytemuck::cast_slice_mut(bytes);
        &mut floats[..len]
    }
}

/// A slice of which tasks take parts of their own.
pub(crate) struct Parts<'a> {
    base: *mut f32,
    len: usize,
    held: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a slice of numbers that is borrowed for `'a`; whoever takes a part promises to be alone with it.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self { base: slice.as_mut_ptr(), len: slice.len(), held: PhantomData }
    }

    /// The numbers from `start` on.
    ///
    /// # Safety
    ///
    /// As long as it is there, no other slice overlaps them.
    ///
    /// # Panics
    ///
    /// When they are not in it.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "a part lies in its slice");
        // SAFETY: it lies in the slice that was borrowed for `'a`, and is the caller's alone by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(start), len) }
    }

    /// Where the number at `start` is, of which `needed` more follow.
    pub fn address(&self, start: usize, needed: usize) -> std::ptr::NonNull<f32> {
        assert!(start <= self.len && needed <= self.len - start, "a part lies in its slice");
        // SAFETY: inside the slice or at its end, and a slice's pointer is not null.
        unsafe { std::ptr::NonNull::new_unchecked(self.base.add(start)) }
    }
}

/// Scratch memory for as many tasks as run at once.
pub(crate) struct Scratch<'a> {
    parts: Parts<'a>,
    each: usize,
    taken: Vec<AtomicBool>,
}

impl<'a> Scratch<'a> {
    /// Of `each` numbers for each of `count` tasks, which the slice has.
    pub fn new(slice: &'a mut [f32], each: usize, count: usize) -> Self {
        Self { parts: Parts::new(slice), each, taken: (0..count).map(|_| AtomicBool::new(false)).collect() }
    }

    /// Runs a task with scratch memory of its own.
    pub fn with<T>(&self, task: impl FnOnce(&mut [f32]) -> T) -> T {
        loop {
            for (at, taken) in self.taken.iter().enumerate() {
                if !taken.swap(true, Ordering::Acquire) {
                    let free = Free(taken);
                    // SAFETY: who set the flag has this part to itself until the flag is cleared.
                    let result = task(unsafe { self.parts.part(at * self.each, self.each) });
                    drop(free);
                    return result;
                }
            }
            // As many tasks run as there are threads, so this is when one is between two.
            std::thread::yield_now();
        }
    }
}

/// Clears a flag, after a panic too.
struct Free<'a>(&'a AtomicBool);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
