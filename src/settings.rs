//! The one pattern of checked settings: a type whose every value is valid, and its builder.

use std::borrow::Borrow;

/// Defines a type of checked settings and its builder from a list of settings.
///
/// Write each setting as `name: Type = default;`. Its doc comment becomes that of its setter and of its getter, so say what the setting means,
/// its range and its default. Before the semicolon you can add, in this order:
///
/// | written | effect |
/// |---|---|
/// | `, from impl Into<Type>` | the setter takes this type and converts it |
/// | `, each Item` | the setter takes an iterator whose items convert into `Item` |
/// | `, some impl Into<Item>` | the setter takes this type; the setting is an `Option<Item>` |
/// | `, as &str` | the getter returns this type: a reference, or an `Option` of one; without it the getter copies the value |
/// | `, by hand` | the macro writes neither setter nor getter |
///
/// The part `check(this, problems) { … }` is optional. `this` are the settings; the check can change them. Add every invalid setting to
/// `problems`, a [`Problems`](crate::Problems): `build` returns all of them in one [`Error`](crate::Error).
///
/// With `in files`, the settings are also read and written with serde. The keys are the names of the settings, a file passes the same check,
/// and an unknown key is an error. Your crate then needs `serde` with its feature `derive`.
///
/// ```
/// starple::settings! {
///     /// The settings of a walk.
///     #[derive(Default)]
///     WalkConfig, WalkConfigBuilder, in files {
///         /// How many steps, at least 1; default 10.
///         steps: usize = 10;
///         /// The places on the way; default none.
///         places: Vec<String> = Vec::new(), each String, as &[String];
///     }
///     check(this, problems) {
///         problems.require(this.steps >= 1, || "steps: at least 1, found 0".into());
///     }
/// }
///
/// let walk = WalkConfig::builder().places(["home", "lake"]).build()?;
/// assert_eq!((walk.steps(), walk.places().len()), (10, 2));
/// let error = serde_json::from_str::<WalkConfig>(r#"{"steps": 0}"#).unwrap_err();
/// assert!(error.to_string().starts_with("WalkConfig: steps: at least 1, found 0"));
/// # Ok::<(), starple::Error>(())
/// ```
#[macro_export]
macro_rules! settings {
    ($(#[$doc:meta])* $config:ident, $builder:ident, in files { $($list:tt)* } $($check:tt)*) => {
        $crate::settings! {
            @types
            $(#[$doc])*
            #[derive(PartialEq)]
            $config,
            #[derive(PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(default, deny_unknown_fields)]
            $builder { $($list)* }
            $($check)*
        }
        $crate::settings!(@builder $config $builder);
        $crate::settings!(@files $config $builder);
    };
    ($(#[$doc:meta])* $config:ident, $builder:ident { $($list:tt)* } $($check:tt)*) => {
        $crate::settings!(@types $(#[$doc])* $config, $builder { $($list)* } $($check)*);
        $crate::settings!(@builder $config $builder);
    };
    (
        @types
        $(#[$doc:meta])*
        $config:ident,
        $(#[$attribute:meta])*
        $builder:ident {
            $(
                $(#[$field_doc:meta])*
                $field:ident: $type:ty = $default:expr
                $(, from $from:ty)? $(, each $item:ty)? $(, some $some:ty)? $(, as $get:ty)? $(, by $hand:ident)?;
            )*
        }
        $(check($this:ident, $problems:ident) $check:block)?
    ) => {
        $(#[$doc])*
        ///
        /// Every value of this type is valid, because its builder checks all settings. The getters return the settings.
        #[derive(Debug, Clone)]
        pub struct $config(pub(crate) $builder);

        #[doc = concat!("Builds [`", stringify!($config), "`]. Setters do not fail; the method `build` checks all settings.")]
        #[derive(Debug, Clone)]
        $(#[$attribute])*
        pub struct $builder {
            $(pub(crate) $field: $type,)*
        }

        impl Default for $builder {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl From<$config> for $builder {
            fn from(config: $config) -> Self {
                config.0
            }
        }

        impl $config {
            $($crate::settings!(@getter $(#[$field_doc])* $field: $type $(, as $get)? $(, by $hand)?);)*
        }

        impl $builder {
            $($crate::settings!(
                @setter $(#[$field_doc])* $field: $type
                $(, from $from)? $(, each $item)? $(, some $some)? $(, by $hand)?
            );)*

            /// Checks all settings and returns them.
            ///
            /// # Errors
            /// An error of `ErrorKind::Config` if a setting is invalid. The message names every invalid setting.
            #[allow(unused_mut, reason = "a check may change settings")]
            pub fn build(mut self) -> $crate::Result<$config> {
                let mut problems = $crate::Problems::default();
                $({
                    let ($this, $problems) = (&mut self, &mut problems);
                    $check
                })?
                problems.into_result(stringify!($config))?;
                Ok($config(self))
            }
        }
    };
    (@builder $config:ident $builder:ident) => {
        impl $config {
            /// Returns a builder in which every setting has its default value. Call setters on it, then `build`.
            pub fn builder() -> $builder {
                $builder::default()
            }
        }
    };
    (@files $config:ident $builder:ident) => {
        impl serde::Serialize for $config {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $builder::deserialize(deserializer)?.build().map_err(serde::de::Error::custom)
            }
        }
    };
    (@getter $(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        pub fn $field(&self) -> $type {
            self.0.$field
        }
    };
    (@getter $(#[$doc:meta])* $field:ident: $type:ty, as $get:ty) => {
        $(#[$doc])*
        pub fn $field(&self) -> $get {
            $crate::View::view(&self.0.$field)
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty, from $from:ty) => {
        $(#[$doc])*
        pub fn $field(mut self, $field: $from) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty, each $item:ty) => {
        $(#[$doc])*
        pub fn $field(mut self, $field: impl IntoIterator<Item = impl Into<$item>>) -> Self {
            self.$field = $field.into_iter().map(Into::into).collect();
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty, some $some:ty) => {
        $(#[$doc])*
        pub fn $field(mut self, $field: $some) -> Self {
            self.$field = Some($field.into());
            self
        }
    };
    (@getter $(#[$doc:meta])* $field:ident: $type:ty, by hand) => {};
    (@setter $(#[$doc:meta])* $field:ident: $type:ty, by hand) => {};
}

/// Borrows a setting for its getter, if its type is not `Copy`: a `Vec<usize>` as `&[usize]`, for example. `V` is the type that the getter
/// returns. Only the macro [`settings!`](crate::settings!) uses it.
#[doc(hidden)]
pub trait View<'a, V> {
    fn view(&'a self) -> V;
}

impl<'a, T: Borrow<U>, U: ?Sized + 'a> View<'a, &'a U> for T {
    fn view(&'a self) -> &'a U {
        self.borrow()
    }
}

impl<'a, T: Borrow<U>, U: ?Sized + 'a> View<'a, Option<&'a U>> for Option<T> {
    fn view(&'a self) -> Option<&'a U> {
        self.as_ref().map(Borrow::borrow)
    }
}
