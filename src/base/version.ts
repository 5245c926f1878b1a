/** This package's version; a test holds it equal to package.json's. */
export const version = "0.1.0";

/** The etcd whose behaviour is emulated, and which clients that check are told. */
export const etcdVersion = "3.6.16";
export const etcdStorageVersion = "3.6.0";
