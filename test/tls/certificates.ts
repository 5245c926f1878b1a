import { type CertificateRequest, type MadeCertificate, makeCertificate } from "../../src/server/tls/certificate.ts";

const DAY_MS = 86_400_000;

/** An authority, and certificates that it signs. */
export class Authority {
  readonly made: MadeCertificate;

  constructor(commonName: string) {
    this.made = makeCertificate({ ...period(), commonName, isAuthority: true });
  }

  get pem(): string {
    return this.made.certificatePem;
  }

  sign(request: Partial<CertificateRequest> & { commonName: string }): MadeCertificate {
    return makeCertificate({ ...period(), ...request }, this.made.issuer);
  }

  server(hosts: readonly string[] = ["127.0.0.1", "localhost"], commonName = "server"): MadeCertificate {
    return this.sign({ commonName, hosts, usages: ["server"] });
  }

  client(commonName: string, hosts: readonly string[] = []): MadeCertificate {
    return this.sign({ commonName, hosts, usages: ["client"] });
  }
}

const period = () => ({ notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + DAY_MS });
