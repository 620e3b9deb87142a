//! What the API server does to objects, as plain functions of JSON: decoding, defaults, validation, patches, tables.
