//! IoT Profile Assistant: carries eIM packages and profiles between the network and an eUICC
