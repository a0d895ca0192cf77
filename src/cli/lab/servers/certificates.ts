import { join } from "node:path";
import { run, tool } from "../command.ts";

/** Files in PEM form. */
export interface Certificate {
  /** of the authority that signed it */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
/** Longer than any lab stays. */
const DAYS = ["-days", "365"];

async function openssl(args: readonly string[], signal?: AbortSignal): Promise<void> {
  const { code, stderr } = await run([tool("openssl"), ...args], "", signal);
  if (code !== 0) throw new Error(`openssl ${args[0]}: exit code ${code}: ${stderr.trim()}`);
}

/** A certificate authority whose files are in one folder. */
export class Authority {
  readonly ca: string;
  readonly #folder: string;
  readonly #name: string;

  private constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
    this.ca = join(folder, `${name}.pem`);
  }

  /** @throws Error with what openssl says, or the signal's reason */
  static async create(folder: string, name: string, signal?: AbortSignal): Promise<Authority> {
    const authority = new Authority(folder, name);
    const files = ["-keyout", join(folder, `${name}.key`), "-out", authority.ca];
    await openssl(["req", "-x509", ...KEY, ...files, ...DAYS, "-subj", `/CN=${name}`], signal);
    return authority;
  }

  /**
   * Issues a certificate for servers and clients.
   * @param names as openssl writes them: `IP:127.0.0.1`, `DNS:localhost`
   * @throws Error with what openssl says, or the signal's reason
   */
  async issue(name: string, names: readonly string[] = [`DNS:${name}`], signal?: AbortSignal): Promise<Certificate> {
    const at = (ending: string) => join(this.#folder, `${this.#name}-${name}.${ending}`);
    await openssl(["req", ...KEY, "-keyout", at("key"), "-out", at("csr"), "-subj", `/CN=${name}`], signal);
    await Bun.write(at("ext"), `subjectAltName=${names.join(",")}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    const signer = ["-CA", this.ca, "-CAkey", join(this.#folder, `${this.#name}.key`), "-CAcreateserial"];
    const request = ["x509", "-req", "-in", at("csr"), ...signer, ...DAYS, "-extfile", at("ext"), "-out", at("pem")];
    await openssl(request, signal);
    return { ca: this.ca, cert: at("pem"), key: at("key") };
  }
}
