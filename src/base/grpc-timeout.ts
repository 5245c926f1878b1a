const unitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** At most eight digits and a unit (gRPC over HTTP/2, "Timeout"), in milliseconds; undefined for anything else. */
export function readGrpcTimeout(text: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  return match === null ? undefined : Number(match[1]) * unitsMs[match[2]!]!;
}
