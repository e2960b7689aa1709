//! A software eUICC for IoT: ISD-R, ES10 and profile installation behind APDUs
