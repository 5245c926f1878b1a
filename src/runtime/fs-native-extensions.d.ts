/** The one function that we use; the package brings no declarations. */
declare module "fs-native-extensions" {
  /**
   * Takes the exclusive lock of the open file description behind `fd` (on Linux an OFD lock, on Windows LockFileEx):
   * false while another one has it, also one of the same process. Released when the description is closed or the
   * process dies.
   */
  export function tryLock(fd: number): boolean;
}
