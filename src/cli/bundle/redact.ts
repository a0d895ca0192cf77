/** Takes secrets out of texts, whatever form they have. Pure. */

const HIDDEN = "[secret]";

/** A part of a key's name that says that its value is one. */
const NAMES = String.raw`[\w.-]*(?:pass(?:word|wd|phrase)|secret|token|credential|psk|pre[-_]?shared[-_]?key|api[-_]?key|private[-_]?key|client[-_]?key[-_]?data)[\w.-]*`;

interface Pattern {
  readonly find: RegExp;
  readonly put: string;
}

const PATTERNS: readonly Pattern[] = [
  // PEM (RFC 7468), also as one line of JSON
  {
    find: /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(?! \[secret\])[\s\S]*?(?:-----END \1-----|$)/g,
    put: `-----BEGIN $1----- ${HIDDEN}`,
  },
  // JSON: "password": "…"
  { find: new RegExp(String.raw`("${NAMES}"\s*:\s*)"(?!\[secret\]")(?:[^"\\]|\\.)+"`, "gi"), put: `$1"${HIDDEN}"` },
  // YAML, environment files and command lines: password: …, PASSWORD=…, --password=…
  { find: new RegExp(String.raw`(\b${NAMES}\s*[=:][ \t]*)(?!["\s[])[^\s"',;]+`, "gi"), put: `$1${HIDDEN}` },
  { find: new RegExp(String.raw`(\b${NAMES}\s*=[ \t]*)"(?!\[secret\]")[^"\n]+"`, "gi"), put: `$1"${HIDDEN}"` },
  // command lines: --password …
  { find: new RegExp(String.raw`(--?${NAMES}[ \t]+)(?![\s["'-])[^\s"',;]+`, "gi"), put: `$1${HIDDEN}` },
  // RFC 7235: Authorization: Bearer …, also as JSON
  { find: /(\bauthorization"?\s*:[ \t]*"?)(?!["\s]|\[secret\])[^\r\n"']+/gi, put: `$1${HIDDEN}` },
  { find: /\b(Bearer|Basic)\s+(?!\[secret\])[\w.~+/=-]{8,}/g, put: `$1 ${HIDDEN}` },
  // a JSON web token, which service accounts have
  { find: /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, put: HIDDEN },
  // a bootstrap token of kubeadm
  { find: /\b[a-z0-9]{6}\.[a-z0-9]{16}\b/g, put: HIDDEN },
  // RFC 3986: user:password@host
  { find: /(\b[a-z][a-z0-9+.-]{0,30}:\/\/)(?!\[secret\]@)[^\s/@"'<>]+@/gi, put: `$1${HIDDEN}@` },
];

/** @returns the text, and how many places were hidden */
export function redact(text: string): { readonly text: string; readonly hidden: number } {
  let hidden = 0;
  let out = text;
  for (const { find, put } of PATTERNS) {
    out = out.replace(find, (...match: string[]) => {
      hidden++;
      return put.replace("$1", match[1] ?? "");
    });
  }
  return { text: out, hidden };
}
