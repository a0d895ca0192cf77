import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect } from "node:tls";

/** Files in PEM form. */
export interface EtcdTlsFiles {
  /** of the authorities that etcd's certificate may come from; else those that the system knows */
  readonly caFile?: string;
  /** the client's certificate, with any intermediate ones behind it, and its key */
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** As `fetch` takes them. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

const BLOCK = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/**
 * Reads the files, each time anew, so that one that was replaced counts from the next connection on.
 * @throws Error that names the file and the flag: Bun itself says no more than that no socket could be opened
 */
export async function readTls({ caFile, certFile, keyFile }: EtcdTlsFiles): Promise<TlsMaterial> {
  const [ca, cert, key] = await Promise.all([
    caFile === undefined ? undefined : read(caFile, "--etcd-cafile", parseCertificates),
    certFile === undefined ? undefined : read(certFile, "--etcd-certfile", parseCertificates),
    keyFile === undefined ? undefined : read(keyFile, "--etcd-keyfile", parseKey),
  ]);
  if (cert !== undefined && key !== undefined && cert.parsed[0]?.checkPrivateKey(key.parsed) !== true) {
    throw new Error(`the key in ${keyFile} (--etcd-keyfile) is not that of the certificate in ${certFile}`);
  }
  return {
    ...(ca === undefined ? {} : { ca: ca.text }),
    ...(cert === undefined ? {} : { cert: cert.text }),
    ...(key === undefined ? {} : { key: key.text }),
  };
}

async function read<T>(path: string, flag: string, parse: (text: string) => T): Promise<{ text: string; parsed: T }> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new Error(`${flag}: ${path} can't be read; correct the path, or its permissions`, { cause });
  }
  try {
    return { text, parsed: parse(text) };
  } catch (error) {
    // OpenSSL's own words come last: they are numbers and names of its source.
    const why = error instanceof PemError ? error.message : "it is damaged; copy it there anew";
    throw new Error(`${flag}: ${path} is of no use: ${why}`, { cause: error });
  }
}

/** What is wrong with a file, and what to do. */
class PemError extends Error {}

const BEGIN = /-----BEGIN [A-Z0-9 ]+-----/g;

function parseCertificates(text: string): X509Certificate[] {
  const [blocks, begun] = [text.match(BLOCK) ?? [], text.match(BEGIN) ?? []];
  const found = begun.length === 0 ? "nothing in PEM form" : `only ${begun.join(" and ")}`;
  if (blocks.length === 0) throw new PemError(`there is no certificate in it, ${found}; name the file that has it`);
  if (begun.filter((line) => line.endsWith("CERTIFICATE-----")).length > blocks.length)
    throw new PemError("a certificate in it has no end; copy it there anew");
  return blocks.map((block, at) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      const which = `certificate ${at + 1} of ${blocks.length} in it`;
      throw new PemError(`${which} is damaged; copy it there anew`, { cause });
    }
  });
}

function parseKey(text: string): KeyObject {
  const begun = text.match(BEGIN) ?? [];
  const found = begun.length === 0 ? "nothing in PEM form" : `only ${begun.join(" and ")}`;
  if (!begun.some((line) => line.includes("PRIVATE KEY")))
    throw new PemError(`there is no private key in it, ${found}; name the file that has it`);
  if (/ENCRYPTED/.test(text))
    throw new PemError("the key in it is encrypted; give one without a passphrase, as openssl pkey writes it");
  return createPrivateKey(text);
}

/** milliseconds */
const LOOK = 2000;

/**
 * Who signed the certificate that a server shows, for a message about one that can't be verified. Nothing is sent to it.
 * @returns undefined if that can't be found out
 */
export function issuerOf(endpoint: string): Promise<string | undefined> {
  const { hostname, port } = new URL(endpoint);
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const host = hostname.replace(/^\[|\]$/g, "");
  const socket = connect({ host, port: Number(port || 443), rejectUnauthorized: false }, () => {
    const { issuer } = socket.getPeerCertificate();
    const name = issuer?.CN ?? issuer?.O;
    resolve(Array.isArray(name) ? name[0] : name);
  });
  socket.once("error", () => resolve(undefined));
  socket.setTimeout(LOOK, () => resolve(undefined));
  return promise.finally(() => socket.destroy());
}
