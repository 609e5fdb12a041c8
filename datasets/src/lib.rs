//! Token-block language-model datasets for Burn, with an embedded story corpus
