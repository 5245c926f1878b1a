import type { Runtime } from "../../runtime/runtime.ts";
import type { AuthSettings } from "./auth-settings.ts";
import { JwtTokens } from "./jwt.ts";
import { SimpleTokens } from "./simple-tokens.ts";
import { noTokens, type TokenProvider } from "./tokens.ts";

/** The tokens of one branch, under one leadership. */
export function createTokens(
  { tokens }: AuthSettings,
  { runtime, clusterId }: { runtime: Pick<Runtime, "clock" | "random">; clusterId: bigint },
): TokenProvider {
  switch (tokens.kind) {
    case "simple":
      return new SimpleTokens(
        tokens,
        () => runtime.clock.monotonicMs(),
        (count) => runtime.random.bytes(count),
      );
    case "jwt":
      return new JwtTokens(tokens.jwt, { wallMs: () => runtime.clock.wallMs(), clusterId });
    case "none":
      return noTokens;
  }
}
