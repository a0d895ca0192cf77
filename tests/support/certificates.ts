import { join } from "node:path";

/** Files in PEM form. */
export interface Certificate {
  /** of the authority that signed it */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

async function openssl(args: readonly string[]): Promise<void> {
  const child = Bun.spawn(["openssl", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
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

  static async create(folder: string, name: string): Promise<Authority> {
    const authority = new Authority(folder, name);
    const files = ["-keyout", join(folder, `${name}.key`), "-out", authority.ca];
    await openssl(["req", "-x509", ...KEY, ...files, "-days", "2", "-subj", `/CN=${name}`]);
    return authority;
  }

  /**
   * Issues a certificate for servers and clients.
   * @param names as openssl writes them: `IP:127.0.0.1`, `DNS:localhost`
   */
  async issue(name: string, names: readonly string[] = [`DNS:${name}`]): Promise<Certificate> {
    const at = (ending: string) => join(this.#folder, `${this.#name}-${name}.${ending}`);
    await openssl(["req", ...KEY, "-keyout", at("key"), "-out", at("csr"), "-subj", `/CN=${name}`]);
    await Bun.write(at("ext"), `subjectAltName=${names.join(",")}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    const signer = ["-CA", this.ca, "-CAkey", join(this.#folder, `${this.#name}.key`), "-CAcreateserial"];
    const extensions = ["-days", "2", "-extfile", at("ext")];
    await openssl(["x509", "-req", "-in", at("csr"), ...signer, ...extensions, "-out", at("pem")]);
    return { ca: this.ca, cert: at("pem"), key: at("key") };
  }
}
