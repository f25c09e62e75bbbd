//! The one pattern of checked settings: a type whose every value is valid, and its builder.

use std::borrow::Borrow;

/// Defines two types from a list of settings: a type whose every value is valid, and its builder. Most settings of this crate are defined in
/// this way; use it for the settings of a net of your own.
///
/// The input is: the doc comment and attributes of the type, its name, the name of the builder, optionally `in files`, the settings in braces,
/// and optionally a check. The type gets `builder()` and one getter for each setting; the builder gets one setter for each setting and
/// `build()`, which runs the check. With `#[derive(Default)]` the type also has a default value: add it only if the defaults pass the check,
/// because this value is not checked.
///
/// Write each setting as `name: Type = default;`. Its doc comment becomes that of its setter and of its getter, so say what the setting means,
/// its range and its default. Without an addition, the setter takes a `Type` and the getter returns a copy of it. Before the semicolon you can
/// add, in this order:
///
/// | written | effect |
/// |---|---|
/// | `, from impl Into<Type>` | the setter takes a value of this type and converts it into `Type` |
/// | `, each Item` | the setter takes an iterator whose items convert into `Item`; they replace the whole list |
/// | `, some impl Into<Item>` | `Type` is `Option<Item>`; the setter takes a value of this type, converts it and puts it into `Some` |
/// | `, as &str` | the getter returns this type (a reference, or an `Option` of one) instead of a copy |
/// | `, by hand` | the macro writes neither setter nor getter |
///
/// The part `check(this, problems) { … }` is optional. `this` is a mutable reference to the builder, whose fields are the settings; the check
/// can change them. Add every invalid setting to `problems`, a [`Problems`](crate::Problems): `build` then returns an
/// [`Error`](crate::Error) of kind [`ErrorKind::Config`](crate::ErrorKind::Config) whose message is the name of the type and all problems.
///
/// With `in files`, both types also implement serde's `Serialize` and `Deserialize`, and `PartialEq`. The keys are the names of the settings. A
/// missing key means the default, an unknown key is an error, and reading the type runs the same check as `build`. Your crate then needs
/// `serde` with its feature `derive`.
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
        /// Every value of this type is valid: `build` of its builder checks all settings. The getters return the settings.
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

            /// Checks all settings and returns them. Settings whose setter was not called have their default values.
            ///
            /// # Errors
            /// An error of `ErrorKind::Config` if a setting is invalid. The message names every invalid setting, what is valid, and what was
            /// found.
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
            /// Returns a builder in which every setting has its default value. Call setters for the settings that you want to change, then
            /// `build`.
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
        ///
        /// This method sets the value; `build` checks it.
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty, from $from:ty) => {
        $(#[$doc])*
        ///
        /// This method sets the value; `build` checks it.
        pub fn $field(mut self, $field: $from) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty, each $item:ty) => {
        $(#[$doc])*
        ///
        /// This method sets the whole list and replaces an earlier one; `build` checks it.
        pub fn $field(mut self, $field: impl IntoIterator<Item = impl Into<$item>>) -> Self {
            self.$field = $field.into_iter().map(Into::into).collect();
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty, some $some:ty) => {
        $(#[$doc])*
        ///
        /// This method sets the value to `Some` of the argument; `build` checks it.
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
