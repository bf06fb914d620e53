//! Arithmetic in GF(2^16) with the polynomial 0x1100B, and the constants that PAR 2.0 gives to input slices.

use std::sync::LazyLock;

/// The polynomial without its highest term.
pub const POLYNOMIAL: u16 = 0x100B;
/// Elements but zero: the order of the multiplicative group.
const ORDER: u32 = 65535;
/// Input slices that a set may have: so many powers of two have the full order.
pub const INPUTS_MAX: usize = 32768;

struct Tables {
    exp: Vec<u16>,
    log: Vec<u16>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let (mut exp, mut log) = (Vec::with_capacity(ORDER as usize), vec![0; 1 << 16]);
    let mut x = 1;
    for power in 0..ORDER as u16 {
        exp.push(x);
        log[usize::from(x)] = power;
        x = double(x);
    }
    Tables { exp, log }
});

/// Twice the element.
const fn double(x: u16) -> u16 {
    (x << 1) ^ (if x >> 15 == 1 { POLYNOMIAL } else { 0 })
}

/// Two to this power.
fn power_of_two(power: u64) -> u16 {
    TABLES.exp[(power % u64::from(ORDER)) as usize]
}

fn log(x: u16) -> u32 {
    u32::from(TABLES.log[usize::from(x)])
}

/// The product.
pub fn multiply(a: u16, b: u16) -> u16 {
    if a == 0 || b == 0 { 0 } else { power_of_two(u64::from(log(a) + log(b))) }
}

/// What gives one when multiplied with `x`, which is not zero.
pub fn inverse(x: u16) -> u16 {
    power_of_two(u64::from(ORDER - log(x)))
}

/// `x`, which is not zero, to the power of an exponent.
pub fn power(x: u16, exponent: u32) -> u16 {
    power_of_two(u64::from(log(x)) * u64::from(exponent % ORDER))
}

/// The constants of the first `count` input slices: the powers of two that have the full order.
pub fn constants(count: usize) -> Vec<u16> {
    let full = |n: &u64| ![3, 5, 17, 257].iter().any(|prime| n.is_multiple_of(*prime));
    (1..u64::from(ORDER)).filter(full).take(count).map(power_of_two).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition: polynomials over GF(2), reduced.
    fn slow(a: u16, b: u16) -> u16 {
        let mut product = 0u32;
        for bit in 0..16 {
            if b >> bit & 1 == 1 {
                product ^= u32::from(a) << bit;
            }
        }
        for bit in (16..32).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x1100B << (bit - 16);
            }
        }
        product as u16
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for a in (0..=u16::MAX).step_by(251) {
            for b in (0..=u16::MAX).step_by(241) {
                assert_eq!(multiply(a, b), slow(a, b), "{a} {b}");
            }
        }
    }

    #[test]
    fn inverses_give_one() {
        for x in 1..=u16::MAX {
            assert_eq!(multiply(x, inverse(x)), 1);
        }
        assert_eq!((power(7, 0), power(7, 3), power(7, 65535)), (1, slow(7, slow(7, 7)), 1));
    }

    #[test]
    fn constants_are_those_of_the_specification() {
        assert_eq!(constants(6), [2, 4, 16, 128, 256, 2048]);
        let all = constants(INPUTS_MAX + 1);
        assert_eq!(all.len(), INPUTS_MAX);
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), INPUTS_MAX);
    }
}
