-- Features of the day itself, one row per customer.
with
rates as (select currency, rate_on, rate from fx_rates where known_on <= $as_of),
closing as (select currency, arg_max(rate, rate_on) as closing_rate from rates where rate_on <= $as_of group by currency),
items as (
    select i.*, case when i.currency = $reporting then 1.0 else r.rate end as rate,
           case when i.currency = $reporting then 1.0 else c.closing_rate end as closing_rate
    from invoices i asof left join rates r on i.currency = r.currency and i.issued_on >= r.rate_on
    left join closing c on i.currency = c.currency
    where i.known_on <= $as_of
),
settled as (
    select invoice_id, sum(amount) as amount from (
        select invoice_id, amount from payments where known_on <= $as_of
        union all select invoice_id, amount from write_offs where known_on <= $as_of
    ) group by invoice_id
),
disputed as (  -- a dispute without an amount is about the whole item
    select d.invoice_id, sum(coalesce(d.amount, i.amount)) as amount from disputes d join items i using (invoice_id)
    where d.known_on <= $as_of and (d.resolved_on is null or d.resolved_on > $as_of) group by d.invoice_id
),
balances_of_items as (
    select i.customer_id, i.closing_rate, round(i.amount - coalesce(s.amount, 0), 6) as left_over, $as_of - i.due_on as dpd,
           coalesce(d.amount, 0) as disputed
    from items i left join settled s using (invoice_id) left join disputed d using (invoice_id)
),
open_items as (
    select customer_id, left_over * closing_rate as balance, dpd, least(disputed, left_over) * closing_rate as disputed
    from balances_of_items where left_over > 0
),
balances as (
    select customer_id, sum(balance) as open_amount, count(*) as open_count,
           coalesce(sum(balance) filter (dpd > 0), 0) as overdue_amount,
           coalesce(sum(balance) filter (dpd between 1 and 30), 0) as overdue_1_30_amount,
           coalesce(sum(balance) filter (dpd between 31 and 60), 0) as overdue_31_60_amount,
           coalesce(sum(balance) filter (dpd between 61 and 90), 0) as overdue_61_90_amount,
           coalesce(sum(balance) filter (dpd > 90), 0) as overdue_over_90_amount,
           greatest(max(dpd), 0) as dpd_days, sum(balance * greatest(dpd, 0)) / sum(balance) as dpd_days_mean,
           sum(disputed) / sum(balance) as disputed_share,
           max(balance) / sum(balance) as largest_open_share
    from open_items group by customer_id
),
sales as (
    select customer_id, sum(amount * rate) filter ($as_of - issued_on < 90) as sales_90,
           $as_of - max(issued_on) as days_since_last_invoice, $as_of - min(issued_on) as days_since_first_invoice
    from items group by customer_id
),
cash as (
    select i.customer_id, $as_of - max(p.paid_on) as days_since_last_payment
    from payments p join items i using (invoice_id)
    where p.known_on <= $as_of and p.kind = 'payment' group by i.customer_id
),
limit_known as (
    select l.customer_id, arg_max(l.amount * case when l.currency = $reporting then 1.0 else r.rate end, l.known_on) as amount
    from (from limits where known_on <= $as_of) l
    asof left join rates r on l.currency = r.currency and l.known_on >= r.rate_on group by l.customer_id
),
statement as (
    select customer_id, arg_max(equity / nullif(total_assets, 0), period_end) as equity_ratio,
           arg_max(current_assets / nullif(current_liabilities, 0), period_end) as current_ratio,
           arg_max(net_income / nullif(turnover, 0), period_end) as net_margin
    from financials where known_on <= $as_of group by customer_id
)
select customer_id, coalesce(open_amount, 0) as open_amount, coalesce(open_count, 0) as open_count,
       coalesce(overdue_amount, 0) as overdue_amount, coalesce(overdue_1_30_amount, 0) as overdue_1_30_amount,
       coalesce(overdue_31_60_amount, 0) as overdue_31_60_amount, coalesce(overdue_61_90_amount, 0) as overdue_61_90_amount,
       coalesce(overdue_over_90_amount, 0) as overdue_over_90_amount, overdue_amount / open_amount as overdue_share,
       coalesce(dpd_days, 0) as dpd_days, dpd_days_mean, disputed_share, largest_open_share,
       case when l.amount > 0 then coalesce(open_amount, 0) / l.amount end as utilisation,
       case when sales_90 > 0 then coalesce(open_amount, 0) / sales_90 end as open_to_sales_90d,
       days_since_last_payment, days_since_last_invoice, days_since_first_invoice,
       $as_of - registered_on as tenure_days, equity_ratio, current_ratio, net_margin
from (from customers where known_on <= $as_of)
left join balances using (customer_id) left join sales using (customer_id) left join cash using (customer_id)
left join limit_known l using (customer_id) left join statement using (customer_id)
