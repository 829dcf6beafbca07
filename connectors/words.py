"""What the words in the cells of a list mean: kinds of rows, and states."""

from __future__ import annotations

from obligor.connectors.headings import folded

# By the kind of row: English, German, Chinese, French, Spanish, and codes of SAP, Odoo
# and ERPNext. ``invoice`` is no kind of payment of ours.
_KINDS = {
    "invoice": "invoice|inv|sales invoice|standard invoice|bill|debit note|debit memo|"
    "rechnung|re|rg|ausgangsrechnung|lastschriftanzeige|belastung|发票|销售发票|应收单|"
    "facture|fac|factura|out_invoice|accrec|dr|rv|opening balance|opening",
    "payment": "payment|pmt|pay|receipt|rcpt|cash receipt|payment entry|"
    "customer payment|zahlung|za|zahlungseingang|zahlung eingang|bankeinzug|eingang|"
    "收款|收款单|付款|回款|"
    "paiement|reglement|encaissement|pago|cobro|dz|zp",
    "credit_note": "credit note|credit memo|credit|cn|cm|creditnote|credit invoice|"
    "gutschrift|gs|rechnungskorrektur|stornorechnung|红字发票|贷项|贷项通知单|退货|avoir|"
    "note de credit|nota de credito|abono|out_refund|accreccredit|dg",
    "returned": "returned|return|returned payment|chargeback|bounced|reversal|nsf|"
    "returned cheque|ruckbuchung|rucklastschrift|ruecklastschrift|rl|"
    "retoure|rucklaufer|退票|拒付|退回|rejet|impaye|devuelto|devolucion",
    "refund": "refund|refunded|repayment|payout|ruckzahlung|rueckzahlung|erstattung|"
    "auszahlung|退款|remboursement|reembolso",
}
_NOT_VALID = (
    "draft|cancel|cancelled|canceled|void|voided|deleted|reversed|rejected|proforma|"
    "entwurf|storniert|storno|geloscht|ungultig|草稿|作废|已作废|已取消|取消|brouillon|annule|"
    "annulee|borrador|cancelado|anulado|anulada"
)
KIND_OF = {
    folded(word): kind for kind, words in _KINDS.items() for word in words.split("|")
}
NOT_VALID = {folded(word) for word in _NOT_VALID.split("|")}


def kind_of(word: str) -> str:
    """Return the kind of row that a word means; empty if it is not known.

    Examples
    --------
    >>> kind_of("Rücklastschrift"), kind_of("Credit Memo"), kind_of("ZZ")
    ('returned', 'credit_note', '')
    """
    return KIND_OF.get(folded(word), "")
