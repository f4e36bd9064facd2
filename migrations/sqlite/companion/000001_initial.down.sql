DROP TABLE articles_text;
DROP TABLE articles;
DROP TABLE tickets;
DROP TABLE customers;
