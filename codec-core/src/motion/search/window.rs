//! What the exhaustive search for groups of blocks works on.

/// Blocks of one size in a group of 16x16 samples, in the order of the best positions: 16 of 4x4, 4 of 8x8, one of 16x16.
pub(super) const SUMS: usize = 11;

/// Displacements to try: columns -`reach.0`..`reach.0` and rows -`reach.1`..=`reach.1`; `reach.0` is a multiple of 4.
pub(super) struct Window<'a> {
    pub reach: (usize, usize),
    /// Added to a sum of differences, by column and by row of the window. The columns are a multiple of 8.
    pub column_costs: &'a [u16],
    pub row_costs: &'a [u16],
    /// Whether 4x4 blocks are of interest, too.
    pub fours: bool,
}

/// The lowest costs so far and where they were found, for 8 displacements side by side and two blocks in a register.
pub(super) struct Best {
    pub costs: [[u16; 16]; SUMS],
    pub places: [[u16; 16]; SUMS],
}
