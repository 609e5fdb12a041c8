//! Runnable recipes for T81
