//! Loops that the compiler turns into vector code, compiled for more than the least that a target has.

/// Declares functions that run a loop compiled for AVX2 where the machine has it, else for the target's base.
///
/// The loop is inlined into both; since neither contracts products nor reorders sums, both give the same bits.
macro_rules! vectorized {
    ($($(#[$meta:meta])* $visible:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? = $body:ident;)*) => {$(
        $(#[$meta])*
        $visible fn $name($($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2") {
                #[target_feature(enable = "avx2,bmi2")]
                fn compiled($($argument: $kind),*) $(-> $result)? {
                    $body($($argument),*)
                }
                // SAFETY: the machine has both.
                #[allow(unsafe_code)]
                return unsafe { compiled($($argument),*) };
            }
            $body($($argument),*)
        }
    )*};
}

pub(crate) use vectorized;
