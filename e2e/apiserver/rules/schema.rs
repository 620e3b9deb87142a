//! What the API's schema says beyond types: how lists and maps merge.
