//! Functions of a library that is opened at run time, as pointers of their types.

/// A group of functions that a library has all of, or is missing one of.
macro_rules! functions {
    ($(#[$doc:meta])* $group:ident { $($field:ident = $symbol:ident($($type:ty),*);)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $group {
            $(pub(super) $field: unsafe extern "C" fn($($type),*) -> c_int,)*
        }

        impl $group {
            /// Looks every function up; the first one missing is the error.
            fn load(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {$(
                    // SAFETY: the type is that of the library's declaration of this name (cuda.h, nvml.h), and the
                    // library stays loaded for as long as the pointer is kept (see `Driver` and `NvmlCard`).
                    $field: *unsafe { library.get(concat!(stringify!($symbol), "\0").as_bytes()) }
                        .map_err(|_| stringify!($symbol))?,
                )*})
            }
        }
    };
}
