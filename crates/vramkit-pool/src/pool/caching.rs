//! A pool that keeps what is released for the next request of the same size, as frameworks' caching allocators do.
//!
//! Requests are rounded to classes. A release leaves the block idle; a request of its class takes the block that
//! was used last. Idle blocks go back to the device when they have been idle for too long, by a clock of their own;
//! when more are idle than allowed; and when a request needs their memory, the least recently used first, until it
//! fits.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::classes::SizeClasses;
use super::config::PoolConfig;
use super::device_memory_pool::DeviceMemoryPool;
use super::error::{OutOfMemory, PoolError};
use super::ids::AllocationId;
use super::request::Request;
use crate::device::{AddressRange, Backing};
use crate::sync::lock_std;
use vramkit_units::ByteSize;

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CachingConfig {
    /// To which sizes requests are rounded up.
    pub classes: SizeClasses,
    /// Most bytes kept idle.
    pub max_cached: ByteSize,
    /// How long a block may be idle.
    pub idle_timeout: Duration,
}

impl Default for CachingConfig {
    /// Stepped sizes, 2,048 MiB, 300 s.
    fn default() -> Self {
        Self {
            classes: SizeClasses::Stepped,
            max_cached: ByteSize::mib(2048),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

/// A caching pool at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CachingStats {
    /// Requests that took an idle block.
    pub hits: u64,
    /// Requests that needed memory of the pool.
    pub misses: u64,
    /// Requests that were refused.
    pub failures: u64,
    /// Idle blocks given up for a request or for the limit.
    pub evicted: u64,
    /// Idle blocks given up for their age.
    pub expired: u64,
    /// Blocks that are idle.
    pub idle: u64,
    /// Bytes that are idle.
    pub cached_bytes: ByteSize,
    /// Bytes that are granted and not idle.
    pub used_bytes: ByteSize,
    /// Most that can be granted.
    pub capacity_bytes: ByteSize,
}

impl CachingStats {
    /// Hits of all requests granted; `None` before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }

    /// In use of all that can be granted, 0..1.
    pub fn used_ratio(&self) -> f64 {
        self.used_bytes.ratio_of(self.capacity_bytes)
    }
}

/// A pool with a cache of idle blocks in front.
///
/// ```
/// use vramkit_pool::device::SimulatedDevice;
/// use vramkit_pool::pool::{CachingConfig, CachingPool};
/// # use std::sync::Arc;
/// # use vramkit_pool::ByteSize;
///
/// let device = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
/// let pool = Arc::new(CachingPool::new(device, ByteSize::gib(1), CachingConfig::default())?);
/// drop(pool.allocate(ByteSize::mib(3))?);
/// drop(pool.allocate(ByteSize::mib(3))?); // the same class again: a hit
/// assert_eq!(pool.stats().hits, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CachingPool {
    pool: DeviceMemoryPool,
    config: CachingConfig,
    cache: Mutex<Cache>,
    bell: Arc<Bell>,
}

/// Wakes the sweeper: when a block becomes idle, and at the end.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock_std(&self.rung) = true;
        self.wake.notify_all();
    }

    /// Waits until the bell rings or the time is over.
    fn wait(&self, time: Duration) {
        let rung = lock_std(&self.rung);
        let waited = self.wake.wait_timeout_while(rung, time, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// Idle blocks: by class, the last used last, and by age.
#[derive(Debug, Default)]
struct Cache {
    by_class: BTreeMap<Class, Vec<u64>>,
    /// Whether the sweeper wakes by itself in time for what becomes idle now: whatever idled before is older.
    is_watched: bool,
    by_age: BTreeMap<u64, Idle>,
    next: u64,
    stats: CachingStats,
}

/// Blocks that stand for one another: of one size, and kept for one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    bytes: u64,
    apart: u32,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    id: AllocationId,
    range: AddressRange,
    class: Class,
    since: Instant,
}

impl Idle {
    /// What the pool behind counts for it.
    fn granted(&self) -> ByteSize {
        Request::granted(self.range.size)
    }
}

/// Memory of a caching pool: goes idle when dropped.
#[derive(Debug)]
pub struct CachedAllocation {
    pool: Arc<CachingPool>,
    id: AllocationId,
    range: AddressRange,
    class: Class,
    requested: ByteSize,
}

impl CachedAllocation {
    /// Where it is on the device; as long as was requested.
    pub fn range(&self) -> AddressRange {
        AddressRange::new(self.range.base, self.requested)
    }

    /// Whether it will idle when it is dropped, and nothing goes back to the device for it.
    pub fn goes_idle(&self) -> bool {
        self.pool.keeps(Request::granted(self.range.size))
    }

    /// The pool that it is of, and its id there.
    pub(super) fn held(&self) -> (&DeviceMemoryPool, AllocationId) {
        (&self.pool.pool, self.id)
    }
}

impl Drop for CachedAllocation {
    fn drop(&mut self) {
        let idle = Idle { id: self.id, range: self.range, class: self.class, since: Instant::now() };
        self.pool.put_back(idle);
    }
}

impl Cache {
    fn take(&mut self, class: Class) -> Option<Idle> {
        let age = self.by_class.get_mut(&class)?.pop()?;
        self.forget(age)
    }

    fn put(&mut self, idle: Idle) {
        self.by_class.entry(idle.class).or_default().push(self.next);
        self.by_age.insert(self.next, idle);
        self.next += 1;
        self.stats.idle += 1;
        self.stats.cached_bytes += idle.granted();
    }

    /// The least recently used.
    fn oldest(&mut self) -> Option<Idle> {
        let (&age, idle) = self.by_age.first_key_value()?;
        let class = idle.class;
        if let Some(ages) = self.by_class.get_mut(&class) {
            ages.retain(|&other| other != age);
            if ages.is_empty() {
                self.by_class.remove(&class);
            }
        }
        self.forget(age)
    }

    fn forget(&mut self, age: u64) -> Option<Idle> {
        let idle = self.by_age.remove(&age)?;
        self.stats.idle -= 1;
        self.stats.cached_bytes -= idle.granted();
        Some(idle)
    }
}

impl CachingPool {
    /// A pool of `capacity` bytes on a device, with a thread that gives up what has been idle for too long.
    pub fn new(
        device: Arc<dyn Backing>,
        capacity: ByteSize,
        config: CachingConfig,
    ) -> Result<Arc<Self>, PoolError> {
        let pool = DeviceMemoryPool::with_config(
            device,
            capacity,
            PoolConfig { classes: config.classes, ..PoolConfig::default() },
        )?;
        let bell = Arc::new(Bell::default());
        let caching = Arc::new(Self { pool, config, cache: Mutex::default(), bell: bell.clone() });
        let weak = Arc::downgrade(&caching);
        super::idle::register_idle(&**caching.pool.device(), weak.clone());
        let sweeper = std::thread::Builder::new().name("vramkit-idle".to_owned());
        if let Err(error) = sweeper.spawn(move || sweep_in_time(&weak, &bell)) {
            tracing::warn!(%error, "no thread for idle blocks: they go when something is allocated or released");
        }
        Ok(caching)
    }

    /// The pool behind the cache. What is idle counts as used there.
    pub fn pool(&self) -> &DeviceMemoryPool {
        &self.pool
    }

    /// Counts, and what is idle.
    pub fn stats(&self) -> CachingStats {
        // Idle blocks count as used in the pool behind.
        let (granted, mut stats) = (self.pool.used(), lock_std(&self.cache).stats);
        stats.used_bytes = granted.saturating_sub(stats.cached_bytes);
        stats.capacity_bytes = self.pool.capacity();
        stats
    }

    /// Grants memory: an idle block of the same class, else new memory, for which idle blocks make room.
    pub fn allocate(self: &Arc<Self>, size: ByteSize) -> Result<CachedAllocation, PoolError> {
        self.allocate_apart(size, 0)
    }

    /// As [`allocate`](Self::allocate), for a use of its own (a framework, a stream): what idles of one use serves no other, though it
    /// makes room for it.
    pub fn allocate_apart(
        self: &Arc<Self>,
        size: ByteSize,
        apart: u32,
    ) -> Result<CachedAllocation, PoolError> {
        if let Some(hit) = self.reuse(size, apart) {
            return Ok(hit);
        }
        self.sweep(Instant::now());
        let class = self.class(size, apart);
        let (id, range) = self.allocate_new(size, class.bytes)?;
        Ok(CachedAllocation { pool: self.clone(), id, range, class, requested: size })
    }

    /// As [`allocate_apart`](Self::allocate_apart), where an idle block serves; `None` otherwise. Asks nothing of the device, so it
    /// takes no time.
    pub fn reuse(self: &Arc<Self>, size: ByteSize, apart: u32) -> Option<CachedAllocation> {
        if size.is_zero() {
            return None;
        }
        let class = self.class(size, apart);
        let mut cache = lock_std(&self.cache);
        let Idle { id, range, .. } = cache.take(class)?;
        cache.stats.hits += 1;
        drop(cache);
        Some(CachedAllocation { pool: self.clone(), id, range, class, requested: size })
    }

    /// Whether a block of so many bytes would find room among those that idle; otherwise some go back to the device when it does.
    fn keeps(&self, size: ByteSize) -> bool {
        let cached = lock_std(&self.cache).stats.cached_bytes;
        cached.saturating_add(size) <= self.config.max_cached
    }

    fn class(&self, size: ByteSize, apart: u32) -> Class {
        Class { bytes: self.config.classes.round(size.bytes()).unwrap_or(size.bytes()), apart }
    }

    /// Asks for the whole class, so that the next user of the block may be larger than the first. Idle blocks make room, the least
    /// recently used first, where all of them together would; where they would not, none is given up.
    fn allocate_new(&self, size: ByteSize, class: u64) -> Result<(AllocationId, AddressRange), PoolError> {
        let request = Request::new(if size.is_zero() { size } else { ByteSize::new(class) });
        loop {
            if !self.pool.would_grant(&request, &[]) {
                self.make_room(&request);
            }
            match self.pool.allocate_id(request) {
                Ok(granted) => {
                    lock_std(&self.cache).stats.misses += 1;
                    return Ok(granted);
                }
                // The device has less than the pool may take of it: memory that idles is what it can have back. Or another thread
                // was faster, and there is still something to give up.
                Err(PoolError::OutOfMemory(error))
                    if error.device_error.is_some() || self.pool.would_grant(&request, &self.idle()) =>
                {
                    let Some(idle) = self.evict_oldest() else {
                        return Err(self.refused(PoolError::OutOfMemory(error), size));
                    };
                    self.give_back(vec![idle]);
                }
                Err(error) => return Err(self.refused(error, size)),
            }
        }
    }

    /// Gives up idle blocks, the least recently used first and as few as do; none where all together would not.
    fn make_room(&self, request: &Request) {
        let idle = self.idle();
        if !self.pool.would_grant(request, &idle) {
            return;
        }
        let (mut few, mut many) = (0, idle.len());
        while few + 1 < many {
            let middle = few + (many - few) / 2;
            if self.pool.would_grant(request, &idle[..middle]) { many = middle } else { few = middle }
        }
        (0..many).filter_map(|_| self.evict_oldest()).for_each(|idle| self.give_up(idle));
    }

    /// What idles, the least recently used first.
    fn idle(&self) -> Vec<AllocationId> {
        lock_std(&self.cache).by_age.values().map(|idle| idle.id).collect()
    }

    /// Counts a refusal, and says it of what was asked for and not of its class.
    fn refused(&self, error: PoolError, size: ByteSize) -> PoolError {
        lock_std(&self.cache).stats.failures += 1;
        match error {
            PoolError::OutOfMemory(error) => {
                PoolError::OutOfMemory(Box::new(OutOfMemory { requested: size, ..*error }))
            }
            other => other,
        }
    }

    fn evict_oldest(&self) -> Option<Idle> {
        let mut cache = lock_std(&self.cache);
        let idle = cache.oldest()?;
        cache.stats.evicted += 1;
        Some(idle)
    }

    fn put_back(&self, idle: Idle) {
        let mut evicted = Vec::new();
        let rings;
        {
            let mut cache = lock_std(&self.cache);
            cache.put(idle);
            rings = !std::mem::replace(&mut cache.is_watched, true);
            while cache.stats.cached_bytes > self.config.max_cached {
                let Some(oldest) = cache.oldest() else { break };
                cache.stats.evicted += 1;
                evicted.push(oldest);
            }
        }
        if rings {
            self.bell.ring();
        }
        self.give_back(evicted);
    }

    /// Gives up what has been idle for too long at an instant; returns when the next block will have been.
    pub fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut expired = Vec::new();
        let next = {
            let mut cache = lock_std(&self.cache);
            loop {
                let Some(first) = cache.by_age.values().next().copied() else { break None };
                let due = first.since + self.config.idle_timeout;
                if due > now {
                    break Some(due);
                }
                expired.extend(cache.oldest());
                cache.stats.expired += 1;
            }
        };
        self.give_back(expired);
        next
    }

    /// As [`sweep`](Self::sweep), for the sweeper, who looks again at the time that is returned.
    fn watch(&self, now: Instant) -> Option<Instant> {
        // Before it looks: what becomes idle behind its look rings.
        lock_std(&self.cache).is_watched = false;
        let next = self.sweep(now);
        if next.is_some() {
            lock_std(&self.cache).is_watched = true;
        }
        next
    }

    /// Gives up everything that is idle.
    pub fn clear(&self) {
        let idle = {
            let mut cache = lock_std(&self.cache);
            std::iter::from_fn(|| cache.oldest()).collect()
        };
        self.give_back(idle);
    }

    fn give_up(&self, idle: Idle) {
        if let Err(error) = self.pool.release(idle.id) {
            tracing::error!(%error, "an idle block had been released behind the cache's back");
        }
    }

    /// Releases blocks, and gives their memory back to the device.
    fn give_back(&self, idle: Vec<Idle>) {
        if idle.is_empty() {
            return;
        }
        idle.into_iter().for_each(|idle| self.give_up(idle));
        if let Err(error) = self.pool.trim() {
            tracing::warn!(%error, "idle memory could not be given back");
        }
    }
}

/// Gives up what idles; the pool behind is asked after it, and gives the memory back.
impl super::idle::IdleMemory for CachingPool {
    fn give_back(&self) -> ByteSize {
        let before = self.pool.committed();
        self.clear();
        before.saturating_sub(self.pool.committed())
    }

    fn kept(&self) -> ByteSize {
        lock_std(&self.cache).stats.cached_bytes
    }
}

impl Drop for CachingPool {
    fn drop(&mut self) {
        self.bell.ring();
        self.clear();
    }
}

/// The sweeper: sleeps until the next block has been idle for too long, or the bell rings.
fn sweep_in_time(pool: &Weak<CachingPool>, bell: &Bell) {
    const LONGEST: Duration = Duration::from_secs(3600);
    while let Some(strong) = pool.upgrade() {
        let next = strong.watch(Instant::now());
        drop(strong);
        bell.wait(next.map_or(LONGEST, |next| next.saturating_duration_since(Instant::now())));
    }
}
