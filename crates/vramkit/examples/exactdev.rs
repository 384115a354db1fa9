//! dev
#![allow(clippy::all, clippy::print_stdout, clippy::unwrap_used)]
use std::time::*;
use vramkit::ByteSize;
use vramkit::plan::*;
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % (n as u64)) as usize
    }
}
struct Show(Instant, std::sync::Mutex<(u64, u64)>);
impl Observer for Show {
    fn progress(&self, b: u64, a: u64) {
        let mut l = self.1.lock().unwrap();
        if *l != (b, a) {
            *l = (b, a);
            if std::env::var("SHOW").is_ok() {
                println!(
                    "    {:.3}s bound {b} arena {a} gap {:.4}%",
                    self.0.elapsed().as_secs_f64(),
                    100.0 * (a as f64 / b as f64 - 1.0)
                );
            }
        }
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mode = a[1].as_str(); // decide | opt
    let variants: u64 = a[2].parse().unwrap();
    let deadline: f64 = a[3].parse().unwrap();
    let mut files: Vec<std::path::PathBuf> = a[4..].iter().map(|x| x.into()).collect();
    if files.is_empty() {
        files = std::fs::read_dir("/work/shared/data/planning/minimalloc")
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.to_string_lossy().contains("1048576"))
            .collect();
    }
    files.sort();
    let mut grand = vec![];
    for v in 0..variants {
        let mut total = 0.0;
        for f in &files {
            let text = std::fs::read_to_string(f).unwrap();
            let mut rows: Vec<(u64, u64, u64)> = text
                .lines()
                .skip(1)
                .map(|l| {
                    let c: Vec<u64> = l.split(',').map(|x| x.trim().parse().unwrap()).collect();
                    (c[1], c[2], c[3])
                })
                .collect();
            let mut rng = Rng(v);
            if v > 0 {
                for i in (1..rows.len()).rev() {
                    rows.swap(i, rng.below(i + 1));
                }
            }
            if v % 2 == 1 {
                let m = rows.iter().map(|r| r.1).max().unwrap();
                for r in &mut rows {
                    *r = (m - r.1, m - r.0, r.2);
                }
            }
            let tensors = rows
                .iter()
                .enumerate()
                .map(|(i, r)| TensorLifetime::new("m", &i.to_string(), r.0, r.1, ByteSize::new(r.2)))
                .collect();
            let models = vec![Model {
                name: "m".into(),
                weights: ByteSize::ZERO,
                start: vramkit::units::Step(0),
                tensors,
            }];
            let mut p = MemoryPlanner::new()
                .search(Box::new(Squeaky))
                .search(Box::new(Exact))
                .deadline(Duration::from_secs_f64(deadline))
                .observer(Show(Instant::now(), Default::default()))
                .seed(v);
            if let Ok(t) = std::env::var("THREADS") {
                p = p.threads(t.parse().unwrap());
            }
            if mode == "decide" {
                p = p.capacity(ByteSize::new(1048576));
            }
            let t0 = Instant::now();
            let plan = p.plan(&models, Schedule::Fixed).unwrap();
            let t = t0.elapsed().as_secs_f64();
            total += t;
            if mode != "decide" || plan.arena_size.bytes() > 1048576 {
                println!(
                    "  {} {} load {} bound {} {:.1} ms gap {:.4}% {} {}",
                    f.file_stem().unwrap().to_string_lossy(),
                    plan.arena_size.bytes(),
                    plan.lower_bound.bytes(),
                    plan.proven_bound.bytes(),
                    t * 1e3,
                    plan.gap_ratio() * 100.0,
                    plan.proven_optimal,
                    plan.method
                );
            }
            assert!(plan.is_valid(&plan.tensors));
        }
        println!("{v}: {:.1} ms", total * 1e3);
        grand.push(total);
    }
    println!("mean {:.1} ms", 1e3 * grand.iter().sum::<f64>() / grand.len() as f64);
}
