//! Loops that the compiler turns into vector code, compiled for more than the least that a target has.

/// What a target has at least.
pub(crate) struct Base;

/// x86-64 with AVX2 and BMI2; only named inside functions compiled for both.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

/// x86-64 with AVX-512's F, BW, DQ and VL beside AVX2 and BMI2; only named inside functions compiled for all of them.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512;

/// Declares functions that run a loop compiled for AVX-512 or AVX2 where the machine has it, else for the target's base.
///
/// The loop is inlined into each; since none contracts products or reorders sums, all give the same bits. A loop that is
/// spelt `name::<_>` has a type parameter, which is [`Base`], [`Avx2`] or [`Avx512`].
macro_rules! vectorized {
    ($($(#[$meta:meta])* $visible:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)?
        = $body:ident $(::<$level:tt>)?;)*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visible fn $name($($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi2") {
                #[target_feature(enable = "avx2,bmi2")]
                fn avx2($($argument: $kind),*) $(-> $result)? {
                    $body $(::<$crate::vectorized::level!($level Avx2)>)? ($($argument),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi2")]
                fn avx512($($argument: $kind),*) $(-> $result)? {
                    $body $(::<$crate::vectorized::level!($level Avx512)>)? ($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the machine has all of them.
                    #[allow(unsafe_code)]
                    return unsafe { avx512($($argument),*) };
                }
                // SAFETY: the machine has both.
                #[allow(unsafe_code)]
                return unsafe { avx2($($argument),*) };
            }
            $body $(::<$crate::vectorized::level!($level Base)>)? ($($argument),*)
        }
    )*};
}

/// The type of a level, for [`vectorized`].
macro_rules! level {
    (_ $level:ident) => {
        $crate::vectorized::$level
    };
}

pub(crate) use {level, vectorized};
