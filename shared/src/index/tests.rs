use std::sync::Arc;

use super::*;
