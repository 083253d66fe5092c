//! Thin, safe Linux notification calls.
