//! Watches: from an API server into the index.
