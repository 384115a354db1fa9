//! Which of what ends and begins at one moment belongs together: groups in which as many bytes end as begin.
//!
//! What happens in several places at one moment looks like one thing. Two means tell it apart: sizes, of which few fit together by
//! chance as long as they are few, and what the pieces have to do with one another elsewhere.

use super::network::{Network, Node, Piece};

/// The least groups into which a node falls by sizes alone, if that is sure: no piece could be in two.
pub(super) fn by_size(network: &Network, node: u32) -> Option<Vec<Vec<u32>>> {
    // Pieces between the same moments and of one size are twins: which of them is in which group makes no difference.
    let mut all: Vec<(u32, i64, u32)> = network.nodes[node as usize]
        .all()
        .map(|(piece, is_ending)| {
            let Piece { from, to, size, .. } = network.pieces[piece as usize];
            if is_ending { (from, size as i64, piece) } else { (to, -(size as i64), piece) }
        })
        .collect();
    all.sort_unstable();
    let is_twin = |i: usize| i > 0 && (all[i].0, all[i].1) == (all[i - 1].0, all[i - 1].1);
    let mut twins: Vec<Vec<u32>> = Vec::new();
    let mut kind: Vec<usize> = Vec::new();
    for i in 0..all.len() {
        if !is_twin(i) {
            twins.push(Vec::new());
        }
        kind.push(twins.len() - 1);
        twins[kind[i]].push(all[i].2);
    }
    let mut sums = vec![0i64; 1 << all.len()];
    let mut found: Vec<usize> = Vec::new();
    for mask in 1..sums.len() {
        sums[mask] = sums[mask & (mask - 1)] + all[mask.trailing_zeros() as usize].1;
        // What a group is part of has a larger number than it.
        if sums[mask] == 0 && found.iter().all(|&group| group & mask != group) {
            found.push(mask);
        }
    }
    // Of twins the first are taken first, or the groups would be the same.
    let first_only =
        |mask: &usize| (0..all.len()).all(|i| mask >> i & 1 == 0 || !is_twin(i) || mask >> (i - 1) & 1 == 1);
    found.retain(first_only);
    let mut groups = Vec::new();
    for mask in &found {
        let members = (0..all.len()).filter(|i| mask >> i & 1 == 1);
        groups.push(members.map(|i| twins[kind[i]].pop()).collect::<Option<Vec<u32>>>()?);
    }
    Some(groups).filter(|groups| groups.len() > 1)
}

/// Groups in nodes of more than so many pieces that hang together over narrower ones: each with its node.
pub(super) fn by_neighbours(network: &Network, widest: usize) -> Vec<(u32, Vec<u32>)> {
    let is_narrow = |node: &Node| node.is_full && node.width() <= widest;
    let mut leader: Vec<u32> = (0..network.pieces.len() as u32).collect();
    for node in network.nodes.iter().filter(|node| is_narrow(node)) {
        let mut before = None;
        for (piece, _) in node.all() {
            let own = lead(&mut leader, piece);
            leader[own as usize] = before.map_or(own, |before| lead(&mut leader, before));
            before = Some(piece);
        }
    }
    let mut groups = Vec::new();
    for (number, node) in (0..).zip(&network.nodes).filter(|(_, node)| node.is_full && !is_narrow(node)) {
        let mut all: Vec<(u32, u32, i64)> = node
            .all()
            .map(|(piece, is_ending)| {
                let size = network.pieces[piece as usize].size as i64;
                (lead(&mut leader, piece), piece, if is_ending { size } else { -size })
            })
            .collect();
        all.sort_unstable();
        let own = all.chunk_by(|a, b| a.0 == b.0);
        let own =
            own.filter(|own| own.len() < all.len() && own.iter().map(|piece| piece.2).sum::<i64>() == 0);
        groups.extend(own.map(|own| (number, own.iter().map(|piece| piece.1).collect())));
    }
    groups
}

/// Who stands for all that a piece hangs together with.
fn lead(leader: &mut [u32], mut piece: u32) -> u32 {
    while leader[piece as usize] != piece {
        leader[piece as usize] = leader[leader[piece as usize] as usize];
        piece = leader[piece as usize];
    }
    piece
}
