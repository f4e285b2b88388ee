//! Is it the cardholder? EMV 3-D Secure.
