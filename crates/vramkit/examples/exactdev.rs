//! dev
#![allow(clippy::all, clippy::print_stdout, clippy::unwrap_used)]
use std::time::Instant;
use vramkit::plan::*;
struct Rng(u64);
impl Rng { fn next(&mut self) -> u64 { self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15); let z=(self.0^(self.0>>30)).wrapping_mul(0xbf58476d1ce4e5b9); let z=(z^(z>>27)).wrapping_mul(0x94d049bb133111eb); z^(z>>31) } fn below(&mut self,n:usize)->usize{ (self.next()%(n as u64)) as usize } }
fn main() {
    let variants: u64 = std::env::args().nth(1).map_or(1, |a| a.parse().unwrap());
    let mut files: Vec<_> = std::fs::read_dir("/work/shared/data/planning/minimalloc").unwrap().map(|e| e.unwrap().path()).filter(|p| p.to_string_lossy().contains("1048576")).collect();
    files.sort();
    let mut grand = vec![];
    for v in 0..variants {
        let mut total = 0.0;
        let mut line = String::new();
        for f in &files {
            let text = std::fs::read_to_string(f).unwrap();
            let mut rows: Vec<(u64,u64,u64)> = text.lines().skip(1).map(|l| { let c: Vec<u64> = l.split(',').map(|x| x.trim().parse().unwrap()).collect(); (c[1],c[2],c[3]) }).collect();
            let mut rng = Rng(v);
            if v > 0 { for i in (1..rows.len()).rev() { rows.swap(i, rng.below(i+1)); } }
            if v % 2 == 1 { let m = rows.iter().map(|r| r.1).max().unwrap(); for r in &mut rows { *r = (m - r.1, m - r.0, r.2); } }
            let mut starts: Vec<u64> = rows.iter().map(|r| r.0).collect(); starts.sort(); starts.dedup();
            let rank = |t: u64| starts.partition_point(|&s| s < t) as u32;
            let problem = Problem { buffers: rows.iter().map(|r| Buffer { start: rank(r.0), end: rank(r.1), size: r.2, alignment: 1, pinned: None }).collect(), ranks: starts.len() as u32 };
            let t0 = Instant::now();
            let (o, nodes, p) = exact::decide(&problem, 1048576, 3_000_000);
            let t = t0.elapsed().as_secs_f64();
            total += t;
            line += &format!(" {}{} {:.1}ms {}k", &f.file_name().unwrap().to_string_lossy()[..1], if o == "Found" {""} else {"!!"}, t*1e3, nodes/1000);
            if let Some(p) = p {
                for i in 0..rows.len() { assert!(p[i] + rows[i].2 <= 1048576); for j in 0..i { let (a,b)=(rows[i],rows[j]); if a.0 < b.1 && b.0 < a.1 { assert!(p[i]+a.2 <= p[j] || p[j]+b.2 <= p[i], "clash {i} {j}"); } } }
            }
        }
        println!("{v}: {:.1} ms |{line}", total*1e3);
        grand.push(total);
    }
    println!("mean {:.1} ms", 1e3*grand.iter().sum::<f64>()/grand.len() as f64);
}
