//! Compiling one function for several instruction sets.

/// Declares `fn name(args)`, which runs `generic(args)` compiled for AVX2 where the processor has it.
///
/// `generic` and everything hot below it must be `#[inline(always)]`, or it keeps the baseline's instructions. Products
/// and sums are never contracted, so that both versions give the same bits.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $generic:path) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide($($arg: $ty),*) {
                    $generic($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has the instructions that `wide` was compiled for.
                    return unsafe { wide($($arg),*) };
                }
            }
            $generic($($arg),*)
        }
    };
}

pub(crate) use multiversion;

/// The integer value of a whole number in 0..2^23. Casts saturate, which keeps compilers from vectorising them.
#[inline(always)]
pub(crate) fn whole_to_u32(whole: f32) -> u32 {
    const UNIT_IS_LAST_BIT: f32 = (1 << 23) as f32;
    (whole + UNIT_IS_LAST_BIT).to_bits() - UNIT_IS_LAST_BIT.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_convert() {
        for n in [0, 1, 2, 255, 8191, 65_535, (1 << 23) - 1] {
            assert_eq!(whole_to_u32(n as f32), n);
        }
    }
}
