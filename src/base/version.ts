/** This package's version; a test holds it equal to package.json's. */
export const version = "0.1.0";

/** The etcd that is emulated: clients parse it and decide by it what they may ask (M1). */
export const etcdVersion = "3.6.16";
export const etcdStorageVersion = "3.6.0";
