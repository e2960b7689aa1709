//! What pages make of hostile names, and who sees what.
