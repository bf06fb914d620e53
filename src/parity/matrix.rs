//! Matrices over GF(2^16): which recovery slices are independent, and the inverse that gives the missing slices.

use super::field::{inverse, multiply};

/// Rows of equal length.
pub type Matrix = Vec<Vec<u16>>;

/// Adds `factor` times a row to another.
fn add(to: &mut [u16], row: &[u16], factor: u16) {
    if factor != 0 {
        to.iter_mut().zip(row).for_each(|(to, x)| *to ^= multiply(factor, *x));
    }
}

/// The numbers of the first rows that are independent, as many as they have columns; `None` when there are fewer.
pub fn independent(rows: impl Iterator<Item = Vec<u16>>, columns: usize) -> Option<Vec<usize>> {
    let mut chosen = Vec::new();
    // Each with the column in which it alone begins, and one there.
    let mut basis: Vec<(usize, Vec<u16>)> = Vec::new();
    for (number, mut row) in rows.enumerate() {
        if chosen.len() == columns {
            break;
        }
        for (pivot, known) in &basis {
            let factor = row.get(*pivot).copied().unwrap_or(0);
            add(&mut row, known, factor);
        }
        if let Some(pivot) = row.iter().position(|x| *x != 0) {
            let scale = inverse(row[pivot]);
            row.iter_mut().for_each(|x| *x = multiply(*x, scale));
            basis.push((pivot, row));
            chosen.push(number);
        }
    }
    (chosen.len() == columns).then_some(chosen)
}

/// The inverse of a square matrix, if it has one.
pub fn inverted(mut matrix: Matrix) -> Option<Matrix> {
    let size = matrix.len();
    for (n, row) in matrix.iter_mut().enumerate() {
        row.resize(2 * size, 0);
        row[size + n] = 1;
    }
    for column in 0..size {
        let pivot = (column..size).find(|n| matrix[*n][column] != 0)?;
        matrix.swap(column, pivot);
        let mut row = std::mem::take(&mut matrix[column]);
        let scale = inverse(row[column]);
        row.iter_mut().for_each(|x| *x = multiply(*x, scale));
        for other in matrix.iter_mut().filter(|other| !other.is_empty()) {
            let factor = other[column];
            add(other, &row, factor);
        }
        matrix[column] = row;
    }
    Some(matrix.into_iter().map(|row| row[size..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::field::{constants, power};

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let inputs = constants(500);
        let rows = |exponents: &[u32]| -> Matrix {
            exponents.iter().map(|e| inputs[100..100 + exponents.len()].iter().map(|c| power(*c, *e)).collect()).collect()
        };
        for exponents in [vec![0], vec![0, 1, 2, 3], vec![3, 7, 8, 21, 22]] {
            let (matrix, inverse) = (rows(&exponents), inverted(rows(&exponents)).unwrap());
            for (r, row) in matrix.iter().enumerate() {
                for c in 0..row.len() {
                    let product = row.iter().zip(&inverse).fold(0, |x, (a, b)| x ^ multiply(*a, b[c]));
                    assert_eq!(product, u16::from(r == c));
                }
            }
        }
    }

    #[test]
    fn dependent_rows_are_passed_over() {
        let rows = [vec![1, 2], vec![1, 2], vec![2, 4], vec![0, 5]];
        assert_eq!(independent(rows.clone().into_iter(), 2), Some(vec![0, 3]));
        assert_eq!(independent(rows.into_iter().take(3), 2), None);
        assert_eq!(inverted(vec![vec![1, 2], vec![1, 2]]), None);
    }
}
