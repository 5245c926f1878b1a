/** Type numbers of statfs(2), from Linux' magic.h and the file systems' own sources. */
const namesByType = new Map<number, string>([
  [0xef53, "ext"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x2fc12fc1, "zfs"],
  [0xf2f52010, "f2fs"],
  [0xca451a4e, "bcachefs"],
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
  [0x794c7630, "overlay"],
  [0x61756673, "aufs"],
  [0x6969, "nfs"],
  [0xff534d42, "cifs"],
  [0xfe534d42, "smb"],
  [0x517b, "smb"],
  [0x65735546, "fuse"],
  [0x01021997, "9p"],
  [0x00c36400, "ceph"],
  [0x0bd00bd0, "lustre"],
  [0x5346414f, "afs"],
  [0x6b414653, "afs"],
  [0x01161970, "gfs2"],
  [0x7461636f, "ocfs2"],
  [0x47504653, "gpfs"],
  [0x786f4256, "vboxsf"],
  [0x4d44, "fat"],
  [0x2011bab0, "exfat"],
  [0x5346544e, "ntfs"],
  [0x7366746e, "ntfs"],
  [0x3153464a, "jfs"],
  [0x52654973, "reiserfs"],
  [0x73717368, "squashfs"],
]);

/** Only Linux' numbers mean the same everywhere; of others the kind cannot be told. */
export function fileSystemName(platform: string, type: number | bigint): string {
  if (platform !== "linux") return "unknown";
  return namesByType.get(Number(BigInt.asUintN(32, BigInt(type)))) ?? "unknown";
}
