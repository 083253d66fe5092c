//! Decoding of what a read returned: one whole thing after the other, as long
//! as they are whole.

use std::marker::PhantomData;

/// What such bytes are made of. Only this crate implements it.
pub trait Decode<'a>: Sized {
    /// The first one, and the bytes after it; `None` unless it is whole.
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])>;
}

/// The things in some bytes, one by one. Iteration ends where they stop being
/// whole; it never panics, whatever the bytes.
#[derive(Clone, Debug)]
pub struct Decoder<'a, T> {
    rest: &'a [u8],
    of: PhantomData<T>,
}

impl<'a, T> Decoder<'a, T> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, of: PhantomData }
    }

    /// The bytes not decoded: empty after the last, if all were whole.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a, T: Decode<'a>> Iterator for Decoder<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let (first, rest) = T::first(self.rest)?;
        self.rest = rest;
        Some(first)
    }
}
