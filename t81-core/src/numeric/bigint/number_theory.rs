//! Powers, powers modulo a number, greatest common divisors.

use super::super::error::ArithmeticError;
use super::super::magnitude;
use super::super::tryte;
use super::BigInt;

impl BigInt {
    /// The number to a power; zero to the power of zero is one.
    #[must_use]
    pub fn pow(&self, mut exponent: u32) -> Self {
        let mut power = Self::from(1);
        let mut square = self.clone();
        while exponent > 0 {
            if exponent & 1 == 1 {
                power *= &square;
            }
            exponent >>= 1;
            if exponent > 0 {
                square = &square * &square;
            }
        }
        power
    }

    /// The number to a power modulo `modulus`: at least zero and below the modulus, whatever the number's sign.
    ///
    /// # Errors
    ///
    /// When the exponent is negative or the modulus is not positive.
    ///
    /// ```
    /// use t81_core::numeric::BigInt;
    ///
    /// let prime = BigInt::from(2).pow(127) - BigInt::from(1);
    /// let inverse = BigInt::from(-3).pow_mod(&(&prime - BigInt::from(2)), &prime)?;
    /// assert_eq!((inverse * BigInt::from(-3) - BigInt::from(1)) % prime, BigInt::default());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pow_mod(&self, exponent: &Self, modulus: &Self) -> Result<Self, ArithmeticError> {
        if exponent.negative {
            return Err(ArithmeticError::NegativeExponent);
        }
        if modulus.negative || modulus.is_zero() {
            return Err(ArithmeticError::NonPositiveModulus);
        }
        let mut base = self % modulus;
        if base.negative {
            base += modulus;
        }
        // The exponent's base-27 digits choose among the first 27 powers.
        let times = |left: &Self, right: &Self| &(left * right) % modulus;
        let mut powers = vec![&Self::from(1) % modulus];
        let trytes: Vec<u8> = tryte::unsigned(&exponent.magnitude).collect();
        let leading = trytes.iter().rposition(|&tryte| tryte != 0);
        let Some(leading) = leading else {
            return Ok(powers.swap_remove(0));
        };
        let needed = trytes[..=leading].iter().max().copied().unwrap_or_default();
        for index in 0..usize::from(needed) {
            powers.push(times(&powers[index], &base));
        }
        let mut power = powers[usize::from(trytes[leading])].clone();
        for &tryte in trytes[..leading].iter().rev() {
            for _ in 0..3 {
                power = times(&times(&power, &power), &power);
            }
            if tryte != 0 {
                power = times(&power, &powers[usize::from(tryte)]);
            }
        }
        Ok(power)
    }

    /// The greatest common divisor, never negative; that of zero and a number is the number's absolute value.
    #[must_use]
    pub fn gcd(&self, other: &Self) -> Self {
        Self::from_parts(
            false,
            magnitude::gcd(self.magnitude.clone(), other.magnitude.clone()),
        )
    }
}
